"""What follows the training of a cell: its record, its baselines, its artifact."""

import functools
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa
import torch
from torch import nn

from matrixhub.data.columns import present_rows, values
from matrixhub.data.splits import Splits
from matrixhub.data.store import StoredFeatures
from matrixhub.plan import Cell
from matrixhub.plan.cell import digest
from matrixhub.run.baselines import Baseline, baselines
from matrixhub.run.details import details
from matrixhub.run.encode import takes_nulls
from matrixhub.run.feed import num_truncated
from matrixhub.run.finding import finding
from matrixhub.run.model import ProductModel
from matrixhub.run.price import Latencies, artifact_bytes
from matrixhub.run.records import record_head, strict
from matrixhub.run.saved import WrittenModules, artifact_folder, save_product
from matrixhub.run.session import Session
from matrixhub.run.train import Given, Trained
from matrixhub.types import RETRIEVAL

FEW_TEST_ROWS = 5
"""Of a class; with fewer the user is told."""

SHOWN_ROWS = 256
"""Of training, to processors that may have doubts about them."""


@dataclass(slots=True)
class Workshop:
    """What the cells of one run hand on to each other.

    Attributes:
        baselines: by hash of split, output and encoder, so that cells on the same rows compute them once.
        written: frozen encoders and generators already written, for later artifacts to link to.
        latencies: of encoders timed already.
    """

    baselines: dict[str, list[Baseline]] = field(default_factory=dict)
    written: WrittenModules = field(default_factory=dict)
    latencies: Latencies = field(default_factory=dict)


def finish_cell(
    cell: Cell, trained: Trained, given: Given, *, session: Session, workshop: Workshop
) -> dict[str, Any]:
    """The record of a trained cell, complete on the main process, which saves the artifact too.

    Raises:
        ArtifactError: it cannot be written; on all ranks.
    """
    record = _record(cell, trained, given)
    model = session.together(lambda: _whole(cell, trained.model, session))
    work = functools.partial(
        _on_main, record, cell, trained, given, model=model, session=session, workshop=workshop
    )
    session.on_main(work)
    return record


def _on_main(
    record: dict[str, Any],
    cell: Cell,
    trained: Trained,
    given: Given,
    *,
    model: ProductModel,
    session: Session,
    workshop: Workshop,
) -> None:
    record["notes"] += _doubts(cell, model, given)
    if cell.baseline:
        for name in trained.targets.specs:
            found = _baselines(cell, name, trained, given, model=model, workshop=workshop)
            record["baselines"][name] = {baseline.name: strict(baseline.metrics) for baseline in found}
        record["notes"] += _certain(record)
    record |= details(
        cell,
        model=model,
        outputs=trained.outputs,
        mask=trained.mask,
        targets=trained.targets,
        table=given.table,
        splits=given.splits,
        latencies=workshop.latencies,
    )
    folder = artifact_folder(session.folder, cell)
    save_product(
        folder,
        cell=cell,
        model=model,
        targets=trained.targets.specs,
        record=record,
        shared=workshop.written,
    )
    record["artifact"] = str(folder)
    record["artifact_bytes"] = artifact_bytes(folder)


def _whole(cell: Cell, model: ProductModel, session: Session) -> ProductModel:
    """The model with its encoders, which stored features made unnecessary for training."""
    if model.encoders:
        return model
    encoders: dict[str, nn.Module] = {m: session.encoder(o).module for m, o in cell.encoder.items()}
    return ProductModel(encoders, model.modalities, model.readout)


def _baselines(
    cell: Cell, output: str, trained: Trained, given: Given, *, model: ProductModel, workshop: Workshop
) -> list[Baseline]:
    # One that all rows have says more of them.
    first = min(cell.product["inputs"].values(), key=lambda one: bool(one.get("optional")))
    if cell.product["outputs"][output]["task"] == RETRIEVAL:
        return _finding(cell, output, trained, given, model=model)
    modality, present = first["modality"], present_rows(given.table, first)
    # Scored by the head's own metrics, which those of one plugin have in common.
    scored_by = cell.head["name"].partition(".")[0] if cell.head else ""
    asked = [cell.product["outputs"][output], cell.encoder[modality]["name"], scored_by]
    key = digest([given.split_key, *asked])
    if key not in workshop.baselines:
        words, splits = cell.level == "tokens", given.splits
        encoded, encoder = trained.targets.encoded[output], model.encoders[modality]
        workshop.baselines[key] = baselines(
            model.readout.head(output),
            target=trained.targets.specs[output],
            train_values=values(given.table, first["column"], splits.train, words=words, nulls=True),
            test_values=values(given.table, first["column"], splits.test, words=words, nulls=True),
            present=None if present is None else (present[splits.train], present[splits.test]),
            train_targets=encoded[torch.from_numpy(splits.train)].numpy(),
            test_targets=encoded[torch.from_numpy(splits.test)].numpy(),
            encoder=encoder,  # type: ignore[arg-type]
        )
    return workshop.baselines[key]


def _finding(
    cell: Cell, output: str, trained: Trained, given: Given, *, model: ProductModel
) -> list[Baseline]:
    inputs, test = cell.product["inputs"].values(), given.splits.test
    first, second = (values(given.table, one["column"], test) for one in inputs)
    (encoder, *others) = {one["modality"]: model.encoders[one["modality"]] for one in inputs}.values()
    return finding(
        model.readout.head(output),
        first=first,
        second=second,
        targets=trained.targets.encoded[output][torch.from_numpy(test)],
        encoder=None if others else encoder,  # type: ignore[arg-type]
    )


def _record(cell: Cell, trained: Trained, given: Given) -> dict[str, Any]:
    splits, heads = given.splits, {n: trained.model.readout.head(n) for n in trained.scores.metrics}
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
        "notes": [
            *splits.notes,
            *_lacking(cell, given.table),
            *_notes(splits, given.features),
            *_few(cell, trained, splits),
            *_learned_weights(trained),
            *_partners(trained),
        ],
        "epochs": strict(trained.history.epochs),
        **({"joint": list(trained.partners)} if trained.partners else {}),
        "best_epoch": trained.history.best_epoch,
        "num_steps": trained.history.num_steps,
        "train_seconds": round(trained.seconds, 3),
    }


def _notes(splits: Splits, features: Mapping[str, StoredFeatures]) -> Iterator[str]:
    if not len(splits.validation):
        yield "There are no validation rows: the best epoch was chosen by the training loss."
    if features and (cut := num_truncated(features)):
        yield f"{cut:,} rows are longer than their encoder reads, and were cut."


def _doubts(cell: Cell, model: ProductModel, given: Given) -> Iterator[str]:
    """What processors say of rows that their encoders read badly."""
    rows = given.splits.train[:SHOWN_ROWS]
    for name, one in cell.product["inputs"].items():
        encoder: Any = model.encoders[one["modality"]]
        if hasattr(encoder.processor, "doubts"):
            present, words = present_rows(given.table, one), cell.level == "tokens"
            shown = rows if present is None else rows[present[rows]]
            found = values(given.table, one["column"], shown, words=words, nulls=takes_nulls(encoder))
            yield from (f"{name}: {doubt}" for doubt in encoder.processor.doubts(found))


def _certain(record: Mapping[str, Any]) -> Iterator[str]:
    """Scores that every model has, such as the recall among the 10 nearest of 7 rows."""
    for output, found in record["baselines"].items():
        metric = record["main"][output]["metric"]
        for simplest, metrics in list(found.items())[:1]:
            if metrics.get(metric) == 1:
                yield f"{output}: {metric} tells nothing on these test rows, for {simplest} has 1 as well."


def _lacking(cell: Cell, table: pa.Table) -> Iterator[str]:
    """Rows without an input that is optional, or with an empty one that is not."""
    for name, one in cell.product["inputs"].items():
        present = present_rows(table, one)
        if present is not None and (count := int((~present).sum())):
            yield f"{count:,} of {len(present):,} rows lack {name}; what stands in for it was learned."
        elif present is None and len(cell.product["inputs"]) > 1:
            there = present_rows(table, {**one, "optional": True})
            if there is not None and (count := int((~there).sum())):
                yield (
                    f"{count:,} of {len(there):,} rows have an empty cell for {name}, which was read as an "
                    f"empty text; product.inputs.{name}.optional=true takes it as missing."
                )


def _learned_weights(trained: Trained) -> Iterator[str]:
    """What the loss of each output counted for in the end, where that was learned."""
    readout = trained.model.readout
    if readout.log_variances is not None:
        found = zip(readout.heads, readout.log_variances.tolist(), strict=True)
        told = ", ".join(f"{name} {math.exp(-s):.3g}" for name, s in found)
        yield f"Learned weights of the losses, beside those of the config: {told}."


def _partners(trained: Trained) -> Iterator[str]:
    if trained.partners:
        yield f"Trained jointly with {' and '.join(trained.partners)}: what they share learned from all."


def _few(cell: Cell, trained: Trained, splits: Splits) -> Iterator[str]:
    """Classes of which a score says next to nothing."""
    if cell.product["split"]["stratify"]:
        return
    for name, target in trained.targets.specs.items():
        if target.task != "classification":
            continue
        tested = trained.targets.encoded[name][torch.from_numpy(splits.test)]
        counts = torch.bincount(tested, minlength=len(target.classes)).tolist()
        rare = [label for label, count in zip(target.classes, counts, strict=True) if count < FEW_TEST_ROWS]
        if rare:
            shown = ", ".join(rare[:3]) + (f" and {len(rare) - 3} more" if len(rare) > 3 else "")
            yield f"Fewer than {FEW_TEST_ROWS} test rows of {shown}: see product.split.stratify."
