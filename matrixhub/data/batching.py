"""Which rows go together, and where: pure functions of numbers, the same in every process."""

from collections.abc import Iterator, Sequence
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from matrixhub.errors import ConfigError

Rows: TypeAlias = NDArray[np.int64]

_WINDOW_BATCHES, _LEAST_WINDOWS = 50, 4
"""Shuffled batches that are sorted by length together at most, and windows that an epoch has at least."""


def budget_batches(sizes: Sequence[int], budget: int) -> list[list[int]]:
    """Rows of like size put together, so that little is padding.

    Args:
        sizes: cost of each row, such as its tokens.
        budget: the most that ``len(batch) * max(size)`` may be; a row over it gets a batch of its own.

    Returns:
        Positions in ``sizes``, each once; largest rows first, so that a batch too big for the memory is
        met at once and not at the end.

    Raises:
        ConfigError: the budget is below 1.
    """
    if budget < 1:
        raise ConfigError(f"The budget of a batch is {budget}: it must be at least 1.")
    order = np.argsort(-np.asarray(sizes, dtype=np.int64), kind="stable").tolist()
    batches: list[list[int]] = []
    start = 0
    while start < len(order):
        # Sizes fall along the order, so the first row of a batch is its largest.
        length = max(1, budget // max(1, sizes[order[start]]))
        batches.append(order[start : start + length])
        start += length
    return batches


def epoch_batches(
    num_rows: int,
    *,
    batch_size: int,
    seed: int,
    epoch: int,
    shuffle: bool = True,
    lengths: Rows | None = None,
) -> Iterator[Rows]:
    """The global batches of one epoch, int64 positions of (batch_size,) each, one of them may be smaller.

    The order depends on the arguments alone: not on the process, the number of ranks, or what was drawn
    before. A resumed run skips to where it was.

    Args:
        num_rows: how many rows there are.
        batch_size: of each batch.
        seed, epoch: another order for each.
        shuffle: False keeps the rows in their order.
        lengths: cost of each row (num_rows,); rows of like cost are then put together, so that little is
            padding. None does without.

    Raises:
        ConfigError: ``batch_size`` is below 1.
    """
    if batch_size < 1:
        raise ConfigError(f"batch_size is {batch_size}: it must be at least 1.")
    order = np.arange(num_rows, dtype=np.int64)
    random = np.random.Generator(np.random.PCG64(np.random.SeedSequence([abs(seed), int(seed < 0), epoch])))
    if shuffle:
        order = random.permutation(order)
    if lengths is None:
        yield from _cut(order, batch_size)
        return
    # Fewer batches in a window than in the epoch: sorted as one, it would have the same batches every time.
    window = batch_size * max(1, min(_WINDOW_BATCHES, num_rows // batch_size // _LEAST_WINDOWS))
    batches = []
    for rows in _cut(order, window):
        by_length = np.argsort(lengths[rows], kind="stable")
        # As drawn within a batch, so that no rank has all of its long rows.
        batches += [rows[np.sort(places)] for places in _cut(by_length, batch_size)]
    for i in random.permutation(len(batches)) if shuffle else range(len(batches)):
        yield batches[i]


def _cut(order: Rows, size: int) -> list[Rows]:
    return [order[start : start + size] for start in range(0, len(order), size)]


def shard(batch: Rows, rank: int, world: int) -> Rows:
    """The contiguous part of a global batch that belongs to a rank; parts differ by one row at most.

    Every rank has as many batches as every other. A batch of fewer rows than ranks has no part for some:
    these get one of its rows again, for a collective call that a rank stays away from never ends. Such a
    row counts twice, in that batch.

    Args:
        batch: positions, (rows,).
        rank: 0 to ``world - 1``.
        world: number of ranks.
    """
    if 0 < len(batch) < world:
        position = rank % len(batch)
        return batch[position : position + 1]
    return batch[len(batch) * rank // world : len(batch) * (rank + 1) // world]
