"""One cell: trained, scored beside its baselines, saved, recorded."""

import functools
import math
import re
import time
from collections.abc import Iterator, Mapping
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
from matrixhub.errors import DataError
from matrixhub.plan import Cell
from matrixhub.plan.cell import digest
from matrixhub.run.baselines import Baseline, baselines
from matrixhub.run.evaluate import Scores, evaluate
from matrixhub.run.feed import FeatureFeed, Feed, RowFeed, num_truncated
from matrixhub.run.loop import History, Task, fit
from matrixhub.run.model import ProductModel, Readout, build
from matrixhub.run.product import save_product
from matrixhub.run.records import record_head, strict
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
    if not len(splits.test):
        raise DataError("no row is left for test, and a product is scored on some: see product.split")
    targets = session.together(
        lambda: fit_targets(table, cell.product["outputs"], cell.product["inputs"], splits)
    )
    trained = _train(cell, table=table, splits=splits, targets=targets, features=features, session=session)
    record = _record(cell, trained, splits, features)
    finish = functools.partial(
        _finish, record, cell, trained, targets,
        table=table, splits=splits, split_key=split_key, session=session, workshop=workshop,
    )  # fmt: skip
    session.on_main(finish)
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
            record["baselines"][name] = {baseline.name: strict(baseline.metrics) for baseline in found}
    plain = re.sub(r"[^\w.+-]+", "_", cell.name).lstrip(".")
    folder = session.folder / "artifacts" / f"{plain}-{cell.id[:6]}"
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
    model, feed = session.together(
        lambda: _build(cell, table=table, splits=splits, targets=targets, features=features, session=session)
    )
    weights = {name: output["weight"] for name, output in cell.product["outputs"].items()}
    task = Task(feed, targets.encoded, weights, splits.train, splits.validation)
    num_steps = trainer["epochs"] * math.ceil(len(splits.train) / trainer["batch_size"])
    started = time.perf_counter()
    try:
        with session.progress(f"train {cell.name}", num_steps, "steps") as advance:
            history = fit(
                model,
                task,
                trainer=trainer,
                accelerator=accelerator,
                on_step=lambda step, loss: advance(1, loss),
            )
        seconds = time.perf_counter() - started
        scores = evaluate(model, feed, targets.encoded, splits.test, accelerator=accelerator)
    finally:
        # The accelerator holds on to what it prepared; the next cell needs the room.
        accelerator.free_memory()
    return Trained(model, history, scores, seconds)


def _build(
    cell: Cell,
    *,
    table: pa.Table,
    splits: Splits,
    targets: Targets,
    features: Mapping[str, StoredFeatures],
    session: Session,
) -> tuple[ProductModel, Feed]:
    """The model with its initial weights, and what feeds it."""
    device, inputs, seed = session.accelerator.device, cell.product["inputs"], cell.trainer["seed"] % 2**32
    modalities = {name: one["modality"] for name, one in inputs.items()}
    set_seed(seed)
    # Every cell that trains an encoder starts from a copy of its own.
    trained = cell.encoder if cell.trainer["train_encoder"] else {}
    encoders: dict[str, Any] = {m: build("encoder", options) for m, options in trained.items()}
    dims = {name: encoders[m].dim if encoders else features[name].dim for name, m in modalities.items()}
    set_seed(seed)
    readout = Readout(dims=dims, fusion=cell.fusion, head=cell.head, targets=targets.specs).to(device)
    model = ProductModel(encoders, modalities, readout)
    if encoders:
        columns = {n: values(table, i["column"], words=cell.level == "tokens") for n, i in inputs.items()}
        return model, RowFeed(columns, {name: encoders[m] for name, m in modalities.items()}, device)
    feed = FeatureFeed(features, device)
    sample = splits.train if cell.level == "pooled" else splits.train[:STANDARDIZE_ROWS]
    readout.standardize({name: feed.features(name, sample) for name in features})
    return model, feed


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


def _record(
    cell: Cell, trained: Trained, splits: Splits, features: Mapping[str, StoredFeatures]
) -> dict[str, Any]:
    heads = {name: trained.model.readout.head(name) for name in trained.scores.metrics}
    main = {n: {"metric": h.metric, "higher_is_better": h.higher_is_better} for n, h in heads.items()}
    return {
        **record_head(cell, "done"),
        "main": main,
        "metrics": strict(trained.scores.metrics),
        "losses": strict(trained.scores.losses),
        "baselines": {name: {} for name in heads},
        "num_rows": {
            "train": len(splits.train),
            "validation": len(splits.validation),
            "test": len(splits.test),
        },
        "notes": [*splits.notes, *_notes(splits, features)],
        "epochs": strict(trained.history.epochs),
        "best_epoch": trained.history.best_epoch,
        "num_steps": trained.history.num_steps,
        "train_seconds": round(trained.seconds, 3),
    }


def _notes(splits: Splits, features: Mapping[str, StoredFeatures]) -> Iterator[str]:
    if not len(splits.validation):
        yield "There are no validation rows: the best epoch was chosen by the training loss."
    if features and (cut := num_truncated(features)):
        yield f"{cut:,} rows are longer than their encoder reads, and were cut."
