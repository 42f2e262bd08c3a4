"""What a record says of a finished cell beside its scores: intervals, confusions, worst errors, price."""

from collections.abc import Mapping
from typing import Any

import pyarrow as pa
import torch
from torch import Tensor

from matrixhub.data.splits import Splits
from matrixhub.plan import Cell
from matrixhub.run.evaluate import align_words
from matrixhub.run.intervals import interval
from matrixhub.run.mistakes import worst_errors
from matrixhub.run.model import ProductModel
from matrixhub.run.price import Latencies, latency_ms, num_parameters
from matrixhub.run.records import strict
from matrixhub.run.targets import Targets
from matrixhub.types import Target

MOST_CLASSES = 30
"""Classes of a confusion matrix, the most frequent ones; the others are counted together."""

OTHERS = "(others)"


@torch.inference_mode()
def details(
    cell: Cell,
    *,
    model: ProductModel,
    outputs: Mapping[str, Tensor],
    mask: Tensor | None,
    targets: Targets,
    table: pa.Table,
    splits: Splits,
    latencies: Latencies,
) -> dict[str, Any]:
    """Everything that a report shows of a cell and its scores do not say; plain, strict JSON.

    Args:
        cell: what was trained.
        model: with all its encoders, trained.
        outputs: over the test rows, by name.
        mask: (N, T) of real words, if any.
        targets: over all rows.
        table: all rows.
        splits: which of them are test rows.
        latencies: of encoders timed before in this run; new ones are added.

    Returns:
        ``outputs`` (by name: ``interval``, ``confusion``, ``num_wrong``, ``errors``), ``parameters``
        (``encoder``, ``head``, ``trained``) and ``latency_ms``, of one row from its raw value to outputs.
    """
    model.eval()
    index = torch.from_numpy(splits.test)
    found = {}
    for name, raw in outputs.items():
        head, spec = model.readout.head(name), targets.specs[name]
        output, wanted = align_words(raw, mask, targets.encoded[name][index])
        inputs = cell.product["inputs"]
        found[name] = {
            "interval": interval(head, output, wanted),
            "confusion": confusion(output, wanted, spec),
            **worst_errors(head, output, wanted, spec=spec, inputs=inputs, table=table, rows=splits.test),
        }
    price = {
        "parameters": num_parameters(model),
        "latency_ms": latency_ms(cell, model, table, splits=splits, latencies=latencies),
    }
    plain: dict[str, Any] = strict({"outputs": found, **price})
    return plain


def confusion(outputs: Tensor, targets: Tensor, spec: Target) -> dict[str, Any] | None:
    """How often each class (of a row, or of a word) was answered by each.

    Returns:
        ``classes`` and ``counts``, a row for each true class and a column for each answer; None for a
        task that does not choose one of several classes.
    """
    if spec.task not in ("classification", "token_classification"):
        return None
    counted = targets != -100
    truth, answers = targets[counted], outputs.argmax(-1)[counted]
    num_classes = len(spec.classes)
    frequent = torch.bincount(truth, minlength=num_classes).argsort(descending=True, stable=True)
    kept = sorted(frequent[:MOST_CLASSES].tolist())
    names = [spec.classes[i] for i in kept] + [OTHERS] * (num_classes > MOST_CLASSES)
    place = torch.full((num_classes,), len(kept))
    place[kept] = torch.arange(len(kept))
    pairs = place[truth] * len(names) + place[answers]
    counts = torch.bincount(pairs, minlength=len(names) ** 2).reshape(len(names), len(names))
    return {"classes": names, "counts": counts.tolist()}
