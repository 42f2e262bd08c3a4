"""The feature store: rows come back as they went in, damage is never served, one writer at a time."""

import json
import multiprocessing
import multiprocessing.synchronize
import shutil
import time
from pathlib import Path

import numpy as np
import pytest
from filelock import FileLock, Timeout

from matrixhub.data.store import FeatureStore, Part, StoredFeatures, default_cache_dir

KEY = "ab12"
FILES = ("data.npy", "spans.npy", "truncated.npy", "meta.json")


def part(rows: list[int], lengths: list[int], *, dim: int = 3, cut: tuple[int, ...] = ()) -> Part:
    """Every vector holds its row's number."""
    data = np.repeat(np.array(rows, dtype=np.float32), lengths)[:, None] * np.ones(dim, dtype=np.float32)
    flags = np.array([row in cut for row in rows], dtype=bool)
    return Part(data, np.array(rows, dtype=np.int64), np.array(lengths, dtype=np.int64), flags)


def stored(store: FeatureStore, *parts: Part, num_rows: int, pooled: bool) -> StoredFeatures:
    store.put(KEY, parts, num_rows=num_rows, pooled=pooled)
    found = store.get(KEY)
    assert found is not None
    return found


@pytest.fixture
def store(tmp_path: Path) -> FeatureStore:
    return FeatureStore(tmp_path)


def test_pooled_rows_of_all_ranks_come_back_in_the_order_asked_for(store: FeatureStore) -> None:
    found = stored(store, part([2, 0], [1, 1], cut=(2,)), part([1, 3], [1, 1]), num_rows=4, pooled=True)
    assert found.dim == 3
    assert found.pooled_rows(np.array([3, 0, 2]))[:, 0].tolist() == [3, 0, 2]
    assert found.truncated.tolist() == [False, False, True, False]


def test_token_rows_are_padded_and_masked(store: FeatureStore) -> None:
    found = stored(store, part([1, 0, 2], [3, 1, 0]), num_rows=3, pooled=False)
    tokens, mask = found.token_rows(np.array([0, 1, 2]))
    assert tokens.shape == (3, 3, 3)
    assert mask.tolist() == [[True, False, False], [True, True, True], [False, False, False]]
    assert tokens[1, :, 0].tolist() == [1, 1, 1]
    assert (tokens[~mask] == 0).all()


def test_rows_without_any_token_still_have_a_shape(store: FeatureStore) -> None:
    found = stored(store, part([0], [0]), num_rows=1, pooled=False)
    tokens, mask = found.token_rows(np.array([0]))
    assert tokens.shape == (1, 1, 3)
    assert not mask.any()


def test_an_empty_part_of_a_rank_without_rows(store: FeatureStore) -> None:
    found = stored(store, part([0], [1]), part([], []), num_rows=1, pooled=True)
    assert found.pooled_rows(np.array([0])).tolist() == [[0, 0, 0]]


def test_nothing_is_found_where_nothing_was_put(store: FeatureStore) -> None:
    assert store.get("cd34") is None


@pytest.mark.parametrize("name", FILES)
def test_a_truncated_file_is_no_entry(store: FeatureStore, name: str) -> None:
    stored(store, part([0, 1], [1, 1]), num_rows=2, pooled=True)
    path = store.folder(KEY) / name
    path.write_bytes(path.read_bytes()[:-5])
    assert store.get(KEY) is None


@pytest.mark.parametrize("name", FILES)
def test_a_missing_file_is_no_entry(store: FeatureStore, name: str) -> None:
    stored(store, part([0, 1], [1, 1]), num_rows=2, pooled=True)
    (store.folder(KEY) / name).unlink()
    assert store.get(KEY) is None


@pytest.mark.parametrize("name", FILES[:3])
def test_a_flipped_bit_is_no_entry(store: FeatureStore, name: str) -> None:
    stored(store, part([0, 1], [1, 1]), num_rows=2, pooled=True)
    path = store.folder(KEY) / name
    raw = bytearray(path.read_bytes())
    raw[-1] ^= 1
    path.write_bytes(raw)
    assert store.get(KEY) is None


@pytest.mark.parametrize("text", ["", "[]", "{}", "null", '{"checksums": 3}'])
def test_strange_notes_are_no_entry(store: FeatureStore, text: str) -> None:
    stored(store, part([0], [1]), num_rows=1, pooled=True)
    (store.folder(KEY) / "meta.json").write_text(text)
    assert store.get(KEY) is None


def test_a_damaged_entry_is_replaced(store: FeatureStore) -> None:
    stored(store, part([0, 1], [1, 1]), num_rows=2, pooled=True)
    (store.folder(KEY) / "data.npy").write_bytes(b"")
    found = stored(store, part([1, 0], [1, 1]), num_rows=2, pooled=True)
    assert found.pooled_rows(np.array([0, 1]))[:, 0].tolist() == [0, 1]


def test_what_a_killed_writer_left_is_invisible_and_removed(store: FeatureStore) -> None:
    left = store.folder(KEY).parent / f".writing-{KEY}-killed" / KEY
    left.mkdir(parents=True)
    (left / "data.npy").write_bytes(b"half")
    assert store.get(KEY) is None
    stored(store, part([0], [1]), num_rows=1, pooled=True)
    assert [p.name for p in store.folder(KEY).parent.iterdir()] == [KEY]


def test_an_open_entry_stays_readable_when_it_is_replaced(store: FeatureStore) -> None:
    old = stored(store, part([0, 5], [1, 1]), num_rows=6, pooled=True)
    shutil.rmtree(store.folder(KEY))
    assert old.pooled_rows(np.array([5])).tolist() == [[5, 5, 5]]


def test_features_are_mapped_and_not_read(store: FeatureStore) -> None:
    found = stored(store, part([0], [1]), num_rows=1, pooled=True)
    assert isinstance(found.data.base, np.memmap)
    with pytest.raises(ValueError, match="read-only"):
        found.data[0, 0] = 1


def test_notes_hold_no_pickle(store: FeatureStore) -> None:
    stored(store, part([0], [1]), num_rows=1, pooled=True)
    assert set(json.loads((store.folder(KEY) / "meta.json").read_text())) == {"checksums", "pooled"}


def _hold(path: str, ready: multiprocessing.synchronize.Event) -> None:
    with FileLock(path):
        ready.set()
        time.sleep(60)


def test_one_writer_at_a_time_and_a_killed_one_lets_go(store: FeatureStore) -> None:
    context = multiprocessing.get_context("spawn")
    ready = context.Event()
    other = context.Process(target=_hold, args=(str(store.lock(KEY).lock_file), ready))
    other.start()
    try:
        assert ready.wait(30)
        with pytest.raises(Timeout):
            store.lock(KEY).acquire(timeout=0.1)
    finally:
        other.kill()
        other.join(30)
    with store.lock(KEY).acquire(timeout=10):
        pass


def test_the_cache_folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("MATRIXHUB_CACHE", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert default_cache_dir() == tmp_path / "matrixhub"
    monkeypatch.setenv("MATRIXHUB_CACHE", str(tmp_path / "mine"))
    assert default_cache_dir() == tmp_path / "mine"
