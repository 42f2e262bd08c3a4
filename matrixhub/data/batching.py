"""Which rows go together, and where: pure functions of numbers, the same in every process."""

from collections.abc import Iterator, Sequence
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from matrixhub.errors import ConfigError

Rows: TypeAlias = NDArray[np.int64]


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
    num_rows: int, *, batch_size: int, seed: int, epoch: int, shuffle: bool = True
) -> Iterator[Rows]:
    """The global batches of one epoch, int64 positions of (batch_size,) each, the last may be smaller.

    The order depends on the arguments alone: not on the process, the number of ranks, or what was drawn
    before. A resumed run skips to where it was.

    Raises:
        ConfigError: ``batch_size`` is below 1.
    """
    if batch_size < 1:
        raise ConfigError(f"batch_size is {batch_size}: it must be at least 1.")
    order = np.arange(num_rows, dtype=np.int64)
    if shuffle:
        entropy = [abs(seed), int(seed < 0), epoch]
        order = np.random.Generator(np.random.PCG64(np.random.SeedSequence(entropy))).permutation(order)
    for start in range(0, num_rows, batch_size):
        yield order[start : start + batch_size]


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
