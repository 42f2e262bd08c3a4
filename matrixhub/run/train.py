"""One cell: trained, scored beside its baselines, saved, recorded."""

import functools
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import torch
from accelerate.utils import set_seed
from torch import nn

from matrixhub.data.columns import values
from matrixhub.data.splits import Splits
from matrixhub.data.store import StoredFeatures
from matrixhub.plan import Cell
from matrixhub.plan.cell import digest
from matrixhub.run.baselines import Baseline, baselines
from matrixhub.run.evaluate import Scores, evaluate
from matrixhub.run.feed import FeatureFeed, Feed, RowFeed
from matrixhub.run.loop import History, Task, fit
from matrixhub.run.model import ProductModel, Readout, build
from matrixhub.run.product import save_product
from matrixhub.run.session import Session
from matrixhub.run.targets import Targets, fit_targets

STANDARDIZE_ROWS = 4096
"""Training rows whose token features are looked at for mean and spread; pooled ones are all looked at."""


@dataclass(slots=True)
class Trained:
    """A trained cell, before it is recorded."""

    model: ProductModel
    history: History
    scores: Scores
    seconds: float


@dataclass(slots=True)
class Workshop:
    """What the cells of one run hand on to each other.

    Attributes:
        baselines: by hash of split, output and encoder, so that cells on the same rows compute them once.
        encoders: folders of frozen encoders already written, for later artifacts to link to.
    """

    baselines: dict[str, list[Baseline]]
    encoders: dict[str, Path]


def train_cell(
    cell: Cell,
    *,
    table: pa.Table,
    splits: Splits,
    split_key: str,
    features: Mapping[str, StoredFeatures],
    session: Session,
    workshop: Workshop,
) -> dict[str, Any]:
    """Train, score, save; the record of what happened.

    Args:
        cell: what to train.
        table: all its rows.
        splits: which rows train, validate and test.
        split_key: of the split stage.
        features: stored features by input name; empty when the encoder trains.
        session: of this process.
        workshop: of this run.

    Raises:
        DataError, TrainingError, ArtifactError: with what to do.
    """
    targets = fit_targets(table, cell.product["outputs"], cell.product["inputs"], splits)
    trained = _train(cell, table=table, splits=splits, targets=targets, features=features, session=session)
    record = _record(cell, trained, splits)
    finish = functools.partial(
        _finish, record, cell, trained, targets,
        table=table, splits=splits, split_key=split_key, session=session, workshop=workshop,
    )  # fmt: skip
    session.together(finish, main_only=True)
    return record


def _finish(
    record: dict[str, Any],
    cell: Cell,
    trained: Trained,
    targets: Targets,
    *,
    table: pa.Table,
    splits: Splits,
    split_key: str,
    session: Session,
    workshop: Workshop,
) -> None:
    """What the main process does alone: baselines and the artifact, added to the record."""
    if cell.baseline:
        for name in targets.specs:
            found = _baselines(
                cell, name, table=table, splits=splits, split_key=split_key, targets=targets,
                model=trained.model, session=session, workshop=workshop,
            )  # fmt: skip
            record["baselines"][name] = {baseline.name: baseline.metrics for baseline in found}
    folder = session.folder / "artifacts" / f"{cell.name}-{cell.id[:6]}"
    save_product(
        folder,
        cell=cell,
        model=_whole(cell, trained.model, session),
        targets=targets.specs,
        facts={key: record[key] for key in ("metrics", "baselines", "num_rows")},
        shared=workshop.encoders,
    )
    record["artifact"] = str(folder)


def _train(
    cell: Cell,
    *,
    table: pa.Table,
    splits: Splits,
    targets: Targets,
    features: Mapping[str, StoredFeatures],
    session: Session,
) -> Trained:
    trainer, accelerator = cell.trainer, session.accelerator
    modalities = {name: one["modality"] for name, one in cell.product["inputs"].items()}
    set_seed(trainer["seed"])
    # Every cell that trains an encoder starts from a copy of its own.
    encoders: dict[str, Any] = (
        {m: build("encoder", options) for m, options in cell.encoder.items()}
        if trainer["train_encoder"]
        else {}
    )
    dims = {name: encoders[m].dim if encoders else features[name].dim for name, m in modalities.items()}
    set_seed(trainer["seed"])
    readout = Readout(dims=dims, fusion=cell.fusion, head=cell.head, targets=targets.specs)
    feed: Feed
    if encoders:
        columns = {
            n: values(table, one["column"], words=cell.level == "tokens")
            for n, one in cell.product["inputs"].items()
        }
        feed = RowFeed(columns, {name: encoders[m] for name, m in modalities.items()}, accelerator.device)
    else:
        feed = FeatureFeed(features, accelerator.device)
        sample = splits.train if cell.level == "pooled" else splits.train[:STANDARDIZE_ROWS]
        readout.to(accelerator.device)
        readout.standardize(next(iter(feed.inputs([sample])))[1])  # type: ignore[arg-type]
    model = ProductModel(encoders, modalities, readout)
    weights = {name: output["weight"] for name, output in cell.product["outputs"].items()}
    task = Task(feed, targets.encoded, weights, splits.train, splits.validation)
    started = time.perf_counter()
    try:
        with session.progress(f"train {cell.name}", trainer["epochs"], "epochs") as advance:
            history = fit(
                model,
                task,
                trainer=trainer,
                accelerator=accelerator,
                on_epoch=lambda entry: advance(1, f"loss {entry['loss']:.4f}"),
            )
        seconds = time.perf_counter() - started
        scores = evaluate(model, feed, targets.encoded, splits.test, accelerator=accelerator)
    finally:
        # The accelerator holds on to what it prepared; the next cell needs the room.
        accelerator.free_memory()
    return Trained(model, history, scores, seconds)


def _whole(cell: Cell, model: ProductModel, session: Session) -> ProductModel:
    """The model with its encoders, which stored features made unnecessary for training."""
    if model.encoders:
        return model
    encoders: dict[str, nn.Module] = {m: session.encoder(o).module for m, o in cell.encoder.items()}
    return ProductModel(encoders, model.modalities, model.readout)


def _baselines(
    cell: Cell,
    output: str,
    *,
    table: pa.Table,
    splits: Splits,
    split_key: str,
    targets: Targets,
    model: ProductModel,
    session: Session,
    workshop: Workshop,
) -> list[Baseline]:
    first = next(iter(cell.product["inputs"].values()))
    modality = first["modality"]
    options = cell.encoder[modality]
    key = digest([split_key, cell.product["outputs"][output], options["name"]])
    if key not in workshop.baselines:
        session.say(
            f"[dim]baselines of {cell.product['name']}[/dim]"
        ) if session.console.is_terminal else None
        words = cell.level == "tokens"
        encoder: Any = model.encoders[modality] if model.encoders else session.encoder(options).module
        encoded = targets.encoded[output]
        workshop.baselines[key] = baselines(
            model.readout.head(output),
            target=targets.specs[output],
            train_values=values(table, first["column"], splits.train, words=words),
            test_values=values(table, first["column"], splits.test, words=words),
            train_targets=encoded[torch.from_numpy(splits.train)].numpy(),
            test_targets=encoded[torch.from_numpy(splits.test)].numpy(),
            encoder=encoder,
        )
    return workshop.baselines[key]


def _record(cell: Cell, trained: Trained, splits: Splits) -> dict[str, Any]:
    heads = {name: trained.model.readout.head(name) for name in trained.scores.metrics}
    return {
        "cell": cell.id,
        "name": cell.name,
        "product": cell.product["name"],
        "encoder": cell.encoder_label,
        "head": cell.head_label,
        "overrides": list(cell.overrides),
        "status": "done",
        "main": {
            name: {"metric": head.metric, "higher_is_better": head.higher_is_better}
            for name, head in heads.items()
        },
        "metrics": trained.scores.metrics,
        "losses": trained.scores.losses,
        "baselines": {name: {} for name in heads},
        "num_rows": {
            "train": len(splits.train),
            "validation": len(splits.validation),
            "test": len(splits.test),
        },
        "notes": list(splits.notes),
        "epochs": trained.history.epochs,
        "best_epoch": trained.history.best_epoch,
        "num_steps": trained.history.num_steps,
        "train_seconds": round(trained.seconds, 3),
    }
