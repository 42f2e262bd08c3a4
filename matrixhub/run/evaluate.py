"""Outputs of a model over many rows, and what its heads make of them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from accelerate import Accelerator
from accelerate.utils import gather_object
from torch import Tensor

from matrixhub.data.batching import shard
from matrixhub.errors import DataError
from matrixhub.run.feed import Feed, RowFeed, Rows
from matrixhub.run.model import ProductModel, Readout
from matrixhub.run.ranks import together

FEATURE_BATCH, ROW_BATCH = 1024, 32
"""Rows at a time when heads alone run, and when encoders do too."""

Part = tuple[Rows, dict[str, Tensor], Tensor | None]
"""Places of a batch's rows, their outputs by name, their mask of tokens."""


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
    size = FEATURE_BATCH if model.is_light else ROW_BATCH
    places = np.arange(len(rows))
    if accelerator.num_processes > 1:
        places = shard(places, accelerator.process_index, accelerator.num_processes)
    # Lengths of stored rows are known; those of others would be found by preparing them twice.
    lengths = None if model.is_light or isinstance(feed, RowFeed) else feed.lengths(rows)
    if lengths is not None:
        places = places[np.argsort(lengths[places], kind="stable")]
    batches = [places[start : start + size] for start in range(0, len(places), size)]

    def forward() -> list[Part]:
        found = []
        for place, (_, inputs) in zip(batches, feed.inputs(rows[b] for b in batches), strict=True):
            outputs, mask = model(inputs)
            kept = {name: output.float().cpu() for name, output in outputs.items()}
            found.append((place, kept, None if mask is None else mask.cpu()))
        return found

    parts = together(accelerator, forward)
    model.train(was_training)
    if accelerator.num_processes > 1:
        parts = gather_object(parts)
    outputs = {name: _in_place([(place, found[name]) for place, found, _ in parts]) for name in parts[0][1]}
    masks = [(place, mask) for place, _, mask in parts if mask is not None]
    return outputs, _in_place(masks) if masks else None


def _in_place(parts: Sequence[tuple[Rows, Tensor]]) -> Tensor:
    """Batches (B, T, …) of different T, each row at its place, padded with zeros.

    A rank without rows of its own repeats one; the last to speak wins, they agree.
    """
    num_rows = 1 + max(int(place.max()) for place, _ in parts)
    first = parts[0][1]
    longest = [max(batch.shape[1] for _, batch in parts)] if first.ndim > 1 else []
    whole = first.new_zeros((num_rows, *longest, *first.shape[2:]))
    for place, batch in parts:
        index = torch.from_numpy(place)
        if longest:
            whole[index, : batch.shape[1]] = batch
        else:
            whole[index] = batch
    return whole


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
    outputs, mask_BT = outputs_of(model, feed, rows, accelerator=accelerator)
    index = torch.from_numpy(rows)
    return score(model.readout, outputs, mask_BT, {name: targets[name][index] for name in outputs})


def score(
    readout: Readout,
    outputs: Mapping[str, Tensor],
    mask_BT: Tensor | None,
    targets: Mapping[str, Tensor],
) -> Scores:
    """What the heads make of outputs: their losses and metrics, by output."""
    losses, metrics = {}, {}
    device = next((p.device for p in readout.parameters()), torch.device("cpu"))
    for name, raw in outputs.items():
        head = readout.head(name)
        output, wanted = align_words(raw, mask_BT, targets[name])
        losses[name] = float(head.loss(output.to(device), wanted.to(device)))
        metrics[name] = {key: float(value) for key, value in head.metrics(output, wanted).items()}
    return Scores(losses, metrics, len(next(iter(outputs.values()))))


def align_words(outputs: Tensor, mask_BT: Tensor | None, targets: Tensor) -> tuple[Tensor, Tensor]:
    """Outputs (B, T, C) and tag targets (B, W) over the same words; anything else as it is.

    Words that were cut off get outputs of zero, which is the first class, whatever else was in their
    batch: a score counts them, as its baselines do.
    """
    if outputs.ndim != 3:
        return outputs, targets
    if mask_BT is not None:
        outputs = outputs.masked_fill(~mask_BT[..., None], 0.0)
    longest = int(((targets != -100) * torch.arange(1, targets.shape[1] + 1)).max())
    words = max(longest, outputs.shape[1])
    return (
        torch.nn.functional.pad(outputs, (0, 0, 0, words - outputs.shape[1])),
        torch.nn.functional.pad(targets[:, :words], (0, max(words - targets.shape[1], 0)), value=-100),
    )


def match_targets(targets: Tensor, outputs: Tensor) -> Tensor:
    """Tag targets (B, longest of the table) cut or padded with -100 to the words T of outputs (B, T, C)."""
    if outputs.ndim != 3:
        return targets
    words = outputs.shape[1]
    if targets.shape[1] < words:
        return torch.nn.functional.pad(targets, (0, words - targets.shape[1]), value=-100)
    return targets[:, :words]
