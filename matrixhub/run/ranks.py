"""Errors on one rank of several: told to all, or the others would wait for that rank for ever."""

from collections.abc import Callable, Iterator
from typing import TypeVar

import torch

# Its functions keep the process group that there is when they are imported as a default. Left to
# DistributedDataParallel, which imports it late, that is the group of the run: destroying it then ends none
# of its threads, and one that still holds a tensor when the interpreter goes aborts the process.
import torch.distributed.nn.functional
from accelerate import Accelerator
from accelerate.utils import gather_object

from matrixhub.errors import MatrixHubError, TrainingError

T = TypeVar("T")


def together(accelerator: Accelerator, work: Callable[[], T]) -> T:
    """Do a part of the work that has no collectives; when it fails on one rank, it fails on all.

    Raises:
        MatrixHubError: its own on the rank that failed, on the others a ``TrainingError`` that tells it.
    """
    result: list[T] = []
    error = None
    try:
        result.append(work())
    except Exception as caught:
        error = caught
    raise_together(accelerator, error)
    return result[0]


def each_together(accelerator: Accelerator, items: Iterator[T]) -> Iterator[T]:
    """The items of an iterator that is as long on every rank; when one fails on one rank, it fails on all."""
    if accelerator.num_processes == 1:
        yield from items
        return
    end = object()
    while (item := together(accelerator, lambda: next(items, end))) is not end:
        yield item  # type: ignore[misc]


def raise_together(accelerator: Accelerator, error: Exception | None) -> None:
    """Raise on every rank what failed on any of them; every rank must call it."""
    if accelerator.num_processes == 1:
        if error:
            raise error
        return
    failed = torch.tensor(float(error is not None), device=accelerator.device)
    # One number each time; words only when there is something to tell.
    if not accelerator.reduce(failed, "sum"):
        return
    told = gather_object([None if error is None else (_text(error), _exit_code(error))])
    rank, (text, exit_code) = next((rank, found) for rank, found in enumerate(told) if found)
    if isinstance(error, MatrixHubError):
        raise error
    heard = TrainingError(f"Rank {rank}: {text}")
    heard.exit_code = exit_code
    raise heard from error


def _text(error: Exception) -> str:
    return str(error) if isinstance(error, MatrixHubError) else f"{type(error).__name__}: {error}"


def _exit_code(error: Exception) -> int:
    return error.exit_code if isinstance(error, MatrixHubError) else TrainingError.exit_code
