"""Batching: every row once, within the budget, the same everywhere."""

import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from matrixhub.data.batching import Rows, budget_batches, epoch_batches, shard
from matrixhub.errors import ConfigError


@given(sizes=st.lists(st.integers(0, 600), max_size=200), budget=st.integers(1, 5000))
def test_budget_holds_and_every_row_comes_once(sizes: list[int], budget: int) -> None:
    batches = budget_batches(sizes, budget)
    order = [row for batch in batches for row in batch]
    assert sorted(order) == list(range(len(sizes)))
    assert all(batches)
    for batch in batches:
        assert len(batch) == 1 or len(batch) * max(sizes[row] for row in batch) <= budget
    ordered = [sizes[row] for row in order]
    assert ordered == sorted(ordered, reverse=True)


def test_budget_batches_are_full() -> None:
    assert budget_batches([1, 4, 2, 2, 1, 1], 4) == [[1], [2, 3], [0, 4, 5]]
    assert budget_batches([9, 1], 4) == [[0], [1]]
    assert budget_batches([], 4) == []


@given(
    num_rows=st.integers(0, 300),
    batch_size=st.integers(1, 70),
    seed=st.integers(-3, 2**40),
    epoch=st.integers(0, 5),
    shuffle=st.booleans(),
)
def test_an_epoch_is_every_row_once(
    *, num_rows: int, batch_size: int, seed: int, epoch: int, shuffle: bool
) -> None:
    batches = list(epoch_batches(num_rows, batch_size=batch_size, seed=seed, epoch=epoch, shuffle=shuffle))
    order = [row for batch in batches for row in batch.tolist()]
    assert sorted(order) == list(range(num_rows))
    assert all(len(batch) == batch_size for batch in batches[:-1])
    assert shuffle or order == sorted(order)
    assert all(batch.dtype == np.int64 for batch in batches)


@given(
    lengths=st.lists(st.integers(1, 300), max_size=300),
    batch_size=st.integers(1, 40),
    epoch=st.integers(0, 3),
    shuffle=st.booleans(),
)
def test_an_epoch_grouped_by_length_is_every_row_once_too(
    *, lengths: list[int], batch_size: int, epoch: int, shuffle: bool
) -> None:
    def batches() -> list[list[int]]:
        found = epoch_batches(
            len(lengths),
            batch_size=batch_size,
            seed=0,
            epoch=epoch,
            shuffle=shuffle,
            lengths=np.array(lengths, dtype=np.int64),
        )
        return [batch.tolist() for batch in found]

    found = batches()
    assert sorted(row for batch in found for row in batch) == list(range(len(lengths)))
    assert sorted(map(len, found))[1:] == [batch_size] * (len(found) - 1)
    assert found == batches()


def test_grouped_batches_hold_rows_of_like_length_and_change_with_the_epoch() -> None:
    lengths = np.random.default_rng(0).integers(5, 200, 640)

    def padded(epoch: int, given: Rows | None) -> int:
        batches = epoch_batches(640, batch_size=32, seed=0, epoch=epoch, lengths=given)
        return sum(len(batch) * int(lengths[batch].max()) for batch in batches)

    assert padded(0, lengths) < 1.25 * lengths.sum() < padded(0, None)
    first, second = (
        list(epoch_batches(640, batch_size=32, seed=0, epoch=e, lengths=lengths)) for e in (0, 1)
    )
    together = [{frozenset(batch.tolist()) for batch in batches} for batches in (first, second)]
    assert not together[0] & together[1]
    # Long rows come neither first nor last.
    means = [float(lengths[batch].mean()) for batch in first]
    assert means not in (sorted(means), sorted(means, reverse=True))


def order_of(seed: int, epoch: int) -> list[int]:
    batches = epoch_batches(100, batch_size=32, seed=seed, epoch=epoch, shuffle=True)
    return [row for batch in batches for row in batch.tolist()]


def test_order_depends_on_seed_and_epoch_and_nothing_else() -> None:
    orders = {(seed, epoch): order_of(seed, epoch) for seed in (-1, 0, 1, 2) for epoch in (0, 1, 2)}
    assert len({tuple(order) for order in orders.values()}) == len(orders)
    np.random.seed(123)
    assert order_of(1, 2) == orders[1, 2]


def test_another_process_has_the_same_order() -> None:
    code = (
        "from matrixhub.data.batching import epoch_batches as e;"
        "print([r for b in e(100, batch_size=32, seed=7, epoch=3, shuffle=True) for r in b.tolist()])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == str(order_of(7, 3))


@given(num_rows=st.integers(1, 20), world=st.integers(1, 9))
def test_shards_make_up_the_batch(num_rows: int, world: int) -> None:
    batch = np.arange(1000, 1000 + num_rows, dtype=np.int64)
    parts = [shard(batch, rank, world) for rank in range(world)]
    sizes = [len(part) for part in parts]
    assert min(sizes) >= 1
    assert max(sizes) - min(sizes) <= 1
    if num_rows >= world:
        assert np.concatenate(parts).tolist() == batch.tolist()
    else:
        assert set(np.concatenate(parts).tolist()) == set(batch.tolist())


def test_bad_sizes() -> None:
    with pytest.raises(ConfigError, match="budget"):
        budget_batches([1], 0)
    with pytest.raises(ConfigError, match="batch_size is 0"):
        list(epoch_batches(3, batch_size=0, seed=0, epoch=0))
