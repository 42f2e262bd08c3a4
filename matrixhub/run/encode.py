"""Rows through an encoder: length-sorted batches within a budget, prepared ahead in threads."""

import contextlib
import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
import torch
from torch import Tensor

from matrixhub.data.batching import budget_batches
from matrixhub.data.store import Part
from matrixhub.errors import DataError
from matrixhub.protocols import Encoder, Processor
from matrixhub.run.setting import Setting, as_built, running
from matrixhub.types import Batch, Features

SMALLEST_WINDOW, LARGEST_WINDOW = 128, 4096
"""Rows that are prepared and sorted by size together: enough to waste no padding, few enough to hold."""

CHUNK = 64
"""Rows that one thread prepares at a time."""

WORKERS = 4
"""Threads at most that run an encoder on the CPU. Most of its operations are too small to be divided well:
cores that work on batches of their own wait for nobody."""

_In = TypeVar("_In")
_Out = TypeVar("_Out")


def ahead(
    work: Callable[[_In], _Out],
    jobs: Iterable[_In],
    *,
    depth: int = 4,
    begin: Callable[[], None] | None = None,
) -> Iterator[_Out]:
    """Results of ``work`` in order, computed in threads at most ``depth`` jobs ahead of their reader.

    Each thread calls ``begin`` first.
    """
    with ThreadPoolExecutor(min(depth, os.cpu_count() or 1), initializer=begin) as pool:
        waiting: deque[Future[_Out]] = deque()
        for job in jobs:
            waiting.append(pool.submit(work, job))
            if len(waiting) > depth:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()


def takes_nulls(encoder: Any) -> bool:
    """Whether the encoder reads missing values too."""
    return bool(getattr(encoder.processor, "takes_nulls", False))


def num_workers(device: torch.device) -> int:
    """How many batches a model on ``device`` works on at a time."""
    return min(WORKERS, torch.get_num_threads()) if device.type == "cpu" else 1


def in_parallel(work: Callable[[_In], _Out], jobs: Iterable[_In], device: torch.device) -> Iterator[_Out]:
    """Results, in order, of work that a model on ``device`` does; on the CPU, several jobs at a time."""
    threads, workers = torch.get_num_threads(), num_workers(device)
    if workers == 1:
        yield from map(work, jobs)
        return
    dtype, is_on = torch.get_autocast_dtype(device.type), torch.is_autocast_enabled(device.type)

    def alone(job: _In) -> _Out:
        # Both modes belong to a thread, and are handed on.
        with torch.inference_mode(), torch.autocast(device.type, dtype, enabled=is_on):
            return work(job)

    try:
        yield from ahead(alone, jobs, depth=workers, begin=lambda: torch.set_num_threads(threads // workers))
    finally:
        torch.set_num_threads(threads)  # what threads to come begin with


def to_device(batch: Batch, device: torch.device) -> Batch:
    """The batch with every tensor on that device."""
    return {key: tensor.to(device, non_blocking=True) for key, tensor in batch.items()}


@contextlib.contextmanager
def table_rows(rows: Sequence[int] | np.ndarray[Any, np.dtype[np.int64]]) -> Iterator[None]:
    """Errors raised inside name the row of the table, where ``rows`` are the positions of those at hand."""
    try:
        yield
    except DataError as error:
        row = None if error.row is None else int(rows[error.row])
        raise DataError(error.message, row=row, column=error.column) from error


def prepare_rows(processor: Processor, values: Sequence[Any], first_row: int = 0) -> list[Any]:
    """Prepare values in threads; an error names the row of the whole table.

    Raises:
        DataError: with ``row`` counted from the start of the table.
    """

    def work(start: int) -> list[Any]:
        with table_rows(range(first_row + start, first_row + len(values))):
            return processor.prepare(values[start : start + CHUNK])

    return [item for items in ahead(work, range(0, len(values), CHUNK)) for item in items]


@dataclass(frozen=True, slots=True)
class Encoded:
    """Features of some rows of a window, on the CPU.

    Attributes:
        positions: of the rows within what was asked for.
        features: in that order.
        truncated: bool (B,).
    """

    positions: list[int]
    features: Features
    truncated: Tensor


@torch.inference_mode()
def encode_rows(
    encoder: Encoder,
    values: Sequence[Any],
    *,
    device: torch.device,
    budget: int | None = None,
    level: str = "tokens",
) -> Iterator[Encoded]:
    """Encode values batch by batch, longest first within each window.

    The next window is prepared while the model works on this one.

    Args:
        encoder: in eval mode, on ``device``.
        values: of its modality.
        device: where it is.
        budget: of a batch; None is the encoder's own.
        level: ``"pooled"`` leaves tokens out where they are not wanted.

    Raises:
        DataError: a value cannot be processed; names the row, counted within ``values``.
    """
    budget, processor = budget or encoder.budget, encoder.processor
    window = min(LARGEST_WINDOW, max(SMALLEST_WINDOW, 2 * budget))
    starts = range(0, len(values), window)

    def prepare(start: int) -> list[Any]:
        return prepare_rows(processor, values[start : start + window], start)

    def batches() -> Iterator[tuple[list[int], list[Any]]]:
        for start, items in zip(starts, ahead(prepare, starts, depth=1), strict=True):
            for rows in budget_batches([processor.size(item) for item in items], budget):
                yield [start + i for i in rows], [items[i] for i in rows]

    def collate(job: tuple[list[int], list[Any]]) -> tuple[list[int], Batch]:
        return job[0], processor.collate(job[1])

    def forward(job: tuple[list[int], Batch]) -> Encoded:
        positions, batch = job
        truncated = batch.get("truncated", torch.zeros(len(positions), dtype=torch.bool))
        return Encoded(positions, _to_cpu(encoder(to_device(batch, device)), level), truncated)

    for encoded in in_parallel(forward, ahead(collate, batches()), device):
        _check_finite(encoded.features, encoded.positions)
        yield encoded


def _check_finite(features: Features, rows: Sequence[int]) -> None:
    """One row without finite features would spoil all the others by way of their mean."""
    if torch.isfinite(features.pooled_BD.sum()):
        return
    is_bad = (~torch.isfinite(features.pooled_BD)).any(dim=1).tolist()
    if bad := [row for row, flag in zip(rows, is_bad, strict=True) if flag]:
        raise DataError(
            "the encoder's features of it are not finite numbers. Look at its value; if there is nothing "
            "odd about it, run the encoder in float32.",
            row=min(bad),
        )


def _to_cpu(features: Features, level: str) -> Features:
    if level == "pooled":
        return Features(features.pooled_BD.float().cpu())
    tokens_BTD, mask_BT = features.tokens_BTD, features.mask_BT
    return Features(
        features.pooled_BD.float().cpu(),
        None if tokens_BTD is None else tokens_BTD.float().cpu(),
        None if mask_BT is None else mask_BT.cpu(),
    )


def encode_part(
    encoder: Encoder,
    values: Sequence[Any],
    rows: np.ndarray[Any, np.dtype[np.int64]],
    *,
    level: str,
    device: torch.device,
    setting: Setting | None = None,
    on_rows: Callable[[int], None] = lambda count: None,
) -> Part:
    """Encode one rank's rows for the feature store.

    Args:
        encoder: in eval mode, on ``device``.
        values: of those rows.
        rows: their positions in the whole table.
        level: ``"pooled"``, ``"tokens"``, or ``"both"``: the pooled vector, then the tokens.
        device: where the encoder is.
        setting: how to run it; None is as it was built.
        on_rows: told how many rows each batch had.

    Raises:
        DataError: a value cannot be processed; names the row of the whole table.
    """
    data: list[np.ndarray[Any, Any]] = []
    order: list[int] = []
    lengths: list[int] = []
    truncated: list[np.ndarray[Any, Any]] = []
    setting = setting or as_built(encoder)
    with table_rows(rows), running(encoder, setting):
        for encoded in encode_rows(encoder, values, device=device, budget=setting.budget, level=level):
            vectors, counts = _vectors(encoded.features, level)
            data.append(vectors)
            lengths += counts
            order += encoded.positions
            truncated.append(encoded.truncated.numpy())
            on_rows(len(encoded.positions))
    return Part(
        data=np.concatenate(data) if data else np.zeros((0, encoder.dim), dtype=np.float32),
        rows=rows[np.asarray(order, dtype=np.int64)],
        lengths=np.asarray(lengths, dtype=np.int64),
        truncated=np.concatenate(truncated) if truncated else np.zeros(0, dtype=bool),
    )


def _vectors(features: Features, level: str) -> tuple[np.ndarray[Any, Any], list[int]]:
    if level == "pooled":
        return features.pooled_BD.numpy(), [1] * len(features.pooled_BD)
    if features.tokens_BTD is None or features.mask_BT is None:
        raise DataError("this encoder gives no token features, which the product's task needs")
    tokens_BTD, mask_BT = features.tokens_BTD, features.mask_BT
    if level == "both":
        tokens_BTD = torch.cat([features.pooled_BD[:, None], tokens_BTD], dim=1)
        mask_BT = torch.nn.functional.pad(mask_BT, (1, 0), value=True)
    # Up to the last real token: a word inside the row that has no vector keeps its (zero) place.
    positions_T = torch.arange(1, mask_BT.shape[1] + 1)
    lengths_B = (mask_BT * positions_T).amax(dim=1)
    return tokens_BTD[positions_T <= lengths_B[:, None]].numpy(), lengths_B.tolist()


def joined(tensors: Sequence[Tensor], fill: float = 0) -> Tensor:
    """Join batches (B, …) or (B, T, …) along the rows; those of fewer T are padded with ``fill``."""
    if tensors[0].ndim == 1:
        return torch.cat(list(tensors))
    rows, longest = sum(len(t) for t in tensors), max(t.shape[1] for t in tensors)
    whole = tensors[0].new_full((rows, longest, *tensors[0].shape[2:]), fill)
    start = 0
    for tensor in tensors:
        whole[start : start + len(tensor), : tensor.shape[1]] = tensor
        start += len(tensor)
    return whole


def ordered(parts: Sequence[Features], back: torch.Tensor, *, tokens: bool) -> Features:
    """Parts put together, their rows at the places ``back``; with tokens where they are asked for."""
    pooled_BD = torch.cat([part.pooled_BD for part in parts])[back]
    if not tokens or parts[0].tokens_BTD is None:
        return Features(pooled_BD)
    vectors = [part.tokens_BTD for part in parts if part.tokens_BTD is not None]
    masks = [part.mask_BT for part in parts if part.mask_BT is not None]
    return Features(pooled_BD, joined(vectors)[back], joined(masks)[back])


def moved(features: Features, device: torch.device) -> Features:
    """The same on another device."""
    tokens, mask = features.tokens_BTD, features.mask_BT
    present = features.present_B
    return Features(
        features.pooled_BD.to(device),
        None if tokens is None else tokens.to(device),
        None if mask is None else mask.to(device),
        None if present is None else present.to(device),
    )
