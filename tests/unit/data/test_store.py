"""The feature store: rows are found by what they hold, damage is never served, one writer at a time."""

import hashlib
import json
import multiprocessing
import multiprocessing.synchronize
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from filelock import FileLock, Timeout

from matrixhub.data import store as store_module
from matrixhub.data.cache import shelves
from matrixhub.data.store import FeatureStore, Part, Shelf, StoredFeatures
from matrixhub.errors import TrainingError

FILES = ("data.npy", "spans.npy", "truncated.npy", "digests.npy", "meta.json")


def digests(rows: Sequence[int]) -> np.ndarray[Any, Any]:
    """What rows with these numbers hold."""
    found = b"".join(hashlib.sha256(str(row).encode()).digest() for row in rows)
    return np.frombuffer(found, dtype=np.uint8).reshape(-1, 32)


def part(rows: Sequence[int], lengths: Sequence[int], *, dim: int = 3, cut: Sequence[int] = ()) -> Part:
    """Every vector holds its row's number; rows are positions in ``digests(range(…))``."""
    data = np.repeat(np.array(rows, dtype=np.float32), lengths)[:, None] * np.ones(dim, dtype=np.float32)
    flags = np.isin(np.array(rows), cut)
    return Part(data, np.array(rows, dtype=np.int64), np.array(lengths, dtype=np.int64), flags)


def add(shelf: Shelf, *parts: Part) -> None:
    shelf.begin(digests([]))
    for one in parts:
        shelf.add(one, digests(range(100)))


def found(shelf: Shelf, rows: Sequence[int]) -> StoredFeatures:
    features = shelf.find(digests(rows)).features
    assert features is not None
    return features


def missing(shelf: Shelf, rows: Sequence[int]) -> list[int]:
    return [int(position) for position in shelf.find(digests(rows)).missing]


def ones(rows: Sequence[int]) -> Part:
    return part(rows, [1] * len(rows))


@pytest.fixture
def shelf(tmp_path: Path) -> Shelf:
    return FeatureStore(tmp_path).shelf("ab12", {"level": "pooled"})


@pytest.fixture
def token_shelf(tmp_path: Path) -> Shelf:
    return FeatureStore(tmp_path).shelf("cd34", {"level": "tokens"})


def test_rows_of_several_segments_come_back_in_the_order_asked_for(shelf: Shelf) -> None:
    add(shelf, part([2, 0], [1, 1], cut=(2,)), ones([1, 3]), ones([7]))
    features = found(shelf, [0, 1, 2, 3])
    assert (features.dim, features.pooled) == (3, True)
    assert features.pooled_rows(np.array([3, 0, 2]))[:, 0].tolist() == [3, 0, 2]
    assert features.truncated.tolist() == [False, False, True, False]


def test_a_row_is_found_wherever_and_however_often_it_stands(shelf: Shelf) -> None:
    add(shelf, ones([0, 1, 2]))
    features = found(shelf, [2, 2, 0, 2])
    assert features.pooled_rows(np.arange(4))[:, 0].tolist() == [2, 2, 0, 2]


def test_only_what_is_new_is_missing_and_each_content_once(shelf: Shelf) -> None:
    assert missing(shelf, [5, 6, 5]) == [0, 1]
    add(shelf, ones([0, 1]))
    assert missing(shelf, [9, 0, 8, 9, 1, 8, 9]) == [0, 2]
    assert missing(shelf, [1, 0]) == []


def test_contents_that_end_in_zeros_are_not_mixed_up(shelf: Shelf) -> None:
    table = np.zeros((3, 32), dtype=np.uint8)
    table[1, 0], table[2, 31] = 1, 1
    shelf.begin(table)
    shelf.add(ones([1]), table)
    assert shelf.find(table).missing.tolist() == [0, 2]


def test_token_rows_are_padded_and_masked(token_shelf: Shelf) -> None:
    add(token_shelf, part([1, 0], [3, 1]), part([2, 4], [0, 2]))
    features = found(token_shelf, range(3))
    tokens, mask = features.token_rows(np.array([0, 1, 2]))
    assert tokens.shape == (3, 3, 3)
    assert mask.tolist() == [[True, False, False], [True, True, True], [False, False, False]]
    assert tokens[1, :, 0].tolist() == [1, 1, 1]
    assert (tokens[~mask] == 0).all()
    longer, _ = found(token_shelf, [4, 1]).token_rows(np.array([1, 0]))
    assert longer[:, :, 0].tolist() == [[1, 1, 1], [4, 4, 0]]


def test_rows_without_any_token_still_have_a_shape(token_shelf: Shelf) -> None:
    add(token_shelf, part([0], [0]))
    tokens, mask = found(token_shelf, [0]).token_rows(np.array([0]))
    assert tokens.shape == (1, 1, 3)
    assert not mask.any()


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("damage", ["truncated", "missing", "flipped"])
def test_a_damaged_segment_is_dropped_and_its_rows_computed_again(
    shelf: Shelf, name: str, damage: str
) -> None:
    """Reliability row 19."""
    add(shelf, ones([0, 1]), ones([2]))
    (broken,) = (p.parent for p in shelf.folder.glob("*/data.npy") if len(np.load(p)) == 2)
    raw = bytearray((broken / name).read_bytes())
    raw[-4] ^= 1
    (broken / name).write_bytes(raw if damage == "flipped" else raw[:-5])
    if damage == "missing":
        (broken / name).unlink()
    assert missing(shelf, [0, 1, 2]) == [0, 1]
    assert shelf.begin(digests([0, 1, 2])).tolist() == [0, 1]
    assert not broken.exists()
    shelf.add(ones([1, 0]), digests(range(3)))
    assert found(shelf, range(3)).pooled_rows(np.arange(3))[:, 0].tolist() == [0, 1, 2]


@pytest.mark.parametrize("text", ["", "[]", "{}", "null", '{"checksums": 3}'])
def test_strange_notes_are_no_segment(shelf: Shelf, text: str) -> None:
    add(shelf, ones([0]))
    (notes,) = shelf.folder.glob("*/meta.json")
    notes.write_text(text)
    assert missing(shelf, [0]) == [0]


def test_what_a_killed_writer_left_is_invisible_and_removed_by_the_next(shelf: Shelf) -> None:
    left = shelf.folder / ".writing-killed" / "half"
    left.mkdir(parents=True)
    (left / "data.npy").write_bytes(b"half")
    assert missing(shelf, [0]) == [0]
    add(shelf, ones([0]))
    assert sorted(p.name[0] for p in shelf.folder.iterdir() if p.name != "shelf.json") == [
        hashlib.sha256(digests([0]).tobytes()).hexdigest()[0]
    ]


def test_many_small_segments_become_one(shelf: Shelf, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(store_module, "MANY", 3)
    for rows in ([0, 5], [1], [2]):
        add(shelf, ones(rows))
    shelf.merge()
    assert len(list(shelf.folder.glob("*/data.npy"))) == 3
    add(shelf, part([3], [1], cut=(3,)))
    old = found(shelf, range(4))
    shelf.merge()
    assert len(list(shelf.folder.glob("*/data.npy"))) == 1
    for features in (old, found(shelf, range(4))):  # those who have read the old ones keep them
        assert features.pooled_rows(np.arange(4))[:, 0].tolist() == [0, 1, 2, 3]
        assert features.truncated.tolist() == [False, False, False, True]


def test_token_segments_are_merged_line_by_line(token_shelf: Shelf, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(store_module, "MANY", 1)
    add(token_shelf, part([0, 1], [2, 1]), part([2], [3]))
    token_shelf.merge()
    tokens, _ = found(token_shelf, [2, 0, 1]).token_rows(np.arange(3))
    assert tokens[:, :, 0].tolist() == [[2, 2, 2], [0, 0, 0], [1, 0, 0]]


def test_large_segments_are_left_alone(shelf: Shelf, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(store_module, "MANY", 1)
    monkeypatch.setattr(store_module, "SMALL", 200)
    add(shelf, ones(range(40)), ones(range(50, 52)), ones(range(60, 62)))
    shelf.merge()
    assert sorted(len(np.load(path)) for path in shelf.folder.glob("*/data.npy")) == [4, 40]


def test_features_are_mapped_and_not_read(shelf: Shelf) -> None:
    add(shelf, ones([0]))
    features = found(shelf, [0])
    assert isinstance(features.data.base, np.memmap)
    with pytest.raises(ValueError, match="read-only"):
        features.data[0, 0] = 1


def test_a_shelf_says_what_made_it_and_when_it_was_used(tmp_path: Path) -> None:
    about = {"level": "pooled", "encoder": {"name": "text.words"}}
    shelf = FeatureStore(tmp_path).shelf("ab12", about)
    add(shelf, ones([0, 1]), ones([2]))
    assert json.loads((shelf.folder / "shelf.json").read_text()) == about
    before = shelves(tmp_path)[0]
    assert (before.about, before.num_rows) == (about, 3)
    time.sleep(0.02)
    found(shelf, [0])
    assert shelves(tmp_path)[0].last_used > before.last_used


def test_a_place_that_cannot_be_written_to_says_what_to_do(tmp_path: Path) -> None:
    (tmp_path / "features").write_text("a file")
    shelf = FeatureStore(tmp_path).shelf("ab12", {"level": "pooled"})
    assert missing(shelf, [0]) == [0]
    with pytest.raises(TrainingError, match="choose another place with cache_dir=PATH"):
        shelf.lock()


def test_old_shelves_make_room_but_never_those_in_use(tmp_path: Path) -> None:
    for key in ("old", "older", "mine"):
        add(FeatureStore(tmp_path).shelf(key, {"level": "pooled"}), ones(range(50)))
        time.sleep(0.02)
    found(FeatureStore(tmp_path).shelf("old", {"level": "pooled"}), [0])
    sizes = sum(one.num_bytes for one in shelves(tmp_path))
    store = FeatureStore(tmp_path, max_bytes=sizes + 100)
    mine = store.shelf("mine", {"level": "pooled"})
    assert store.make_room(100) == []
    add(mine, ones([90]))
    assert [one.folder.name for one in store.make_room(100)] == ["older"]
    assert [one.folder.name for one in store.make_room(sizes)] == ["old"]
    assert store.make_room(sizes) == []
    assert [one.folder.name for one in shelves(tmp_path)] == ["mine"]


def test_without_a_limit_nothing_is_removed(tmp_path: Path) -> None:
    add(FeatureStore(tmp_path).shelf("old", {"level": "pooled"}), ones([0]))
    assert FeatureStore(tmp_path).make_room(10**15) == []


def _hold(path: str, ready: multiprocessing.synchronize.Event) -> None:
    with FileLock(path):
        ready.set()
        time.sleep(60)


def test_one_writer_at_a_time_and_a_killed_one_lets_go(shelf: Shelf) -> None:
    context = multiprocessing.get_context("spawn")
    ready = context.Event()
    other = context.Process(target=_hold, args=(str(shelf.lock().lock_file), ready))
    other.start()
    try:
        assert ready.wait(30)
        with pytest.raises(Timeout):
            shelf.lock().acquire(timeout=0.1)
    finally:
        other.kill()
        other.join(30)
    with shelf.lock().acquire(timeout=10):
        pass
