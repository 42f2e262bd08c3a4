"""Outputs of a model over many rows, and what its heads make of them."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from accelerate import Accelerator
from accelerate.utils import gather_object
from torch import Tensor

from matrixhub.data.batching import shard
from matrixhub.errors import DataError
from matrixhub.run.encode import pad_cat
from matrixhub.run.feed import FeatureFeed, Feed, Rows
from matrixhub.run.model import ProductModel

FEATURE_BATCH, ROW_BATCH = 1024, 32
"""Rows at a time when heads alone run, and when encoders do too."""


@dataclass(frozen=True, slots=True)
class Scores:
    """Figures of one split.

    Attributes:
        losses: mean loss by output.
        metrics: by output, then by name.
        num_rows: how many rows were scored.
    """

    losses: dict[str, float]
    metrics: dict[str, dict[str, float]]
    num_rows: int


@torch.no_grad()
def outputs_of(
    model: ProductModel, feed: Feed, rows: Rows, *, accelerator: Accelerator
) -> tuple[dict[str, Tensor], Tensor | None]:
    """Outputs by name over ``rows``, in their order, and the mask (N, T) of tokens, on every rank's CPU."""
    was_training = model.training
    model.eval()
    size = FEATURE_BATCH if isinstance(feed, FeatureFeed) else ROW_BATCH
    places = np.arange(len(rows))
    if accelerator.num_processes > 1:
        places = shard(places, accelerator.process_index, accelerator.num_processes)
    batches = [places[start : start + size] for start in range(0, len(places), size)]
    parts: list[tuple[Any, dict[str, Tensor], Tensor | None]] = []
    for place, (_, inputs) in zip(batches, feed.inputs(rows[b] for b in batches), strict=True):
        outputs, mask = model(inputs)
        found = {name: output.detach().float().cpu() for name, output in outputs.items()}
        parts.append((place, found, None if mask is None else mask.cpu()))
    model.train(was_training)
    if accelerator.num_processes > 1:
        parts = gather_object(parts)
    return _joined(parts, len(rows))


def _joined(parts: list[Any], num_rows: int) -> tuple[dict[str, Tensor], Tensor | None]:
    places = torch.from_numpy(np.concatenate([place for place, _, _ in parts]))
    # A rank without rows of its own repeats one; the last to speak wins, they agree.
    order = torch.empty(num_rows, dtype=torch.long)
    order[places] = torch.arange(len(places))
    joined = {name: _cat([found[name] for _, found, _ in parts])[order] for name in parts[0][1]}
    masks = [mask for _, _, mask in parts if mask is not None]
    return joined, _cat(masks)[order] if masks else None


def _cat(tensors: list[Tensor]) -> Tensor:
    if tensors[0].ndim < 2 or all(t.shape[1:] == tensors[0].shape[1:] for t in tensors):
        return torch.cat(tensors)
    return pad_cat(tensors, max(t.shape[1] for t in tensors), 0)


def evaluate(
    model: ProductModel,
    feed: Feed,
    targets: Mapping[str, Tensor],
    rows: Rows,
    *,
    accelerator: Accelerator,
) -> Scores:
    """Loss and metrics of every output over ``rows``.

    Raises:
        DataError: there are no rows to score.
    """
    if not len(rows):
        raise DataError("there are no rows to score: give the split more rows")
    outputs, _ = outputs_of(model, feed, rows, accelerator=accelerator)
    losses, metrics = {}, {}
    index = torch.from_numpy(rows)
    for name, output in outputs.items():
        head = model.readout.head(name)
        wanted = match_targets(targets[name][index], output)
        device = next((p.device for p in model.readout.parameters()), torch.device("cpu"))
        losses[name] = float(head.loss(output.to(device), wanted.to(device)))
        metrics[name] = {key: float(value) for key, value in head.metrics(output, wanted).items()}
    return Scores(losses, metrics, len(rows))


def match_targets(targets: Tensor, outputs: Tensor) -> Tensor:
    """Tag targets (B, longest of the table) cut or padded with -100 to the words T of outputs (B, T, C)."""
    if outputs.ndim != 3:
        return targets
    words = outputs.shape[1]
    if targets.shape[1] < words:
        return torch.nn.functional.pad(targets, (0, words - targets.shape[1]), value=-100)
    return targets[:, :words]
