"""The feature store: what an encoder said about rows, on disk, addressed by content.

An entry is a folder: ``data.npy`` (float32, (sum of T, D); one line a row when pooled), ``spans.npy``
(int64, (N, 2): start and length of each row), ``truncated.npy`` (bool, (N,)), and ``meta.json`` with the
checksums of these. It is written under another name and renamed when whole, by one process at a time.
"""

import json
import os
import shutil
import tempfile
import zlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from filelock import FileLock

Array = np.ndarray[Any, np.dtype[Any]]

META = "meta.json"
FILES = ("data.npy", "spans.npy", "truncated.npy")
_MAPPED: dict[str, dict[str, Any]] = {name: {"allow_pickle": False} for name in FILES}
_MAPPED["data.npy"]["mmap_mode"] = "r"
_BLOCK = 1 << 22


def default_cache_dir() -> Path:
    """``MATRIXHUB_CACHE``, else ``matrixhub`` in the user's cache folder."""
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(os.environ.get("MATRIXHUB_CACHE") or Path(base) / "matrixhub")


@dataclass(frozen=True, slots=True)
class StoredFeatures:
    """Memory-mapped features of N rows.

    Attributes:
        data: float32 (sum of T, D).
        spans: int64 (N, 2), start and length of each row in ``data``.
        truncated: bool (N,).
        pooled: whether every row has one vector.
    """

    data: Array
    spans: Array
    truncated: Array
    pooled: bool

    @property
    def dim(self) -> int:
        """D."""
        return int(self.data.shape[1])

    def pooled_rows(self, rows: Array) -> Array:
        """Features (B, D) of these rows, in this order."""
        return np.asarray(self.data[self.spans[rows, 0]])

    def token_rows(self, rows: Array) -> tuple[Array, Array]:
        """Features (B, T, D), zero-padded, and mask (B, T) of these rows, in this order."""
        spans = self.spans[rows]
        longest = max(int(spans[:, 1].max(initial=0)), 1)
        tokens = np.zeros((len(rows), longest, self.dim), dtype=np.float32)
        for i, (start, length) in enumerate(spans):
            tokens[i, :length] = self.data[start : start + length]
        return tokens, np.arange(longest) < spans[:, 1:2]


@dataclass(frozen=True, slots=True)
class Part:
    """What one rank encoded: vectors one after another, and which rows they belong to."""

    data: Array
    rows: Array
    lengths: Array
    truncated: Array


class FeatureStore:
    """Entries below one folder.

    Args:
        root: made when first written to.
    """

    def __init__(self, root: Path) -> None:
        self.root = root

    def folder(self, key: str) -> Path:
        """Where the entry of that key is or will be."""
        return self.root / "features" / key[:2] / key

    def lock(self, key: str) -> FileLock:
        """One writer at a time; released when its process dies."""
        path = self.folder(key).with_suffix(".lock")
        path.parent.mkdir(parents=True, exist_ok=True)
        return FileLock(path)

    def get(self, key: str) -> StoredFeatures | None:
        """The entry, or None when there is none or it is damaged."""
        folder = self.folder(key)
        try:
            meta = json.loads((folder / META).read_text())
            if {name: _checksum(folder / name) for name in FILES} != meta["checksums"]:
                return None
            data, spans, truncated = (np.load(folder / name, **_MAPPED[name]) for name in FILES)
            return StoredFeatures(np.asarray(data), spans, truncated, bool(meta["pooled"]))
        except (OSError, ValueError, EOFError, KeyError, TypeError):
            return None

    def put(self, key: str, parts: Iterable[Part], *, num_rows: int, pooled: bool) -> None:
        """Write an entry from the parts of all ranks, under its lock; replaces a damaged one."""
        whole = list(parts)
        rows = np.concatenate([part.rows for part in whole])
        lengths = np.concatenate([part.lengths for part in whole])
        spans = np.zeros((num_rows, 2), dtype=np.int64)
        spans[rows, 0] = np.cumsum(lengths) - lengths
        spans[rows, 1] = lengths
        truncated = np.zeros(num_rows, dtype=bool)
        truncated[rows] = np.concatenate([part.truncated for part in whole])
        data = np.concatenate([part.data for part in whole]).astype(np.float32, copy=False)
        self._write(key, dict(zip(FILES, (data, spans, truncated), strict=True)), pooled=pooled)

    def _write(self, key: str, arrays: Mapping[str, Array], *, pooled: bool) -> None:
        folder = self.folder(key)
        folder.parent.mkdir(parents=True, exist_ok=True)
        prefix = f".writing-{key}-"
        for left in folder.parent.glob(f"{prefix}*"):  # by a writer that was killed: the lock is ours now
            shutil.rmtree(left, ignore_errors=True)
        with tempfile.TemporaryDirectory(dir=folder.parent, prefix=prefix) as scratch:
            staging = Path(scratch) / key
            staging.mkdir()
            for name, array in arrays.items():
                np.save(staging / name, array)
            checksums = {name: _checksum(staging / name) for name in FILES}
            (staging / META).write_text(json.dumps({"checksums": checksums, "pooled": pooled}))
            if folder.exists():
                shutil.rmtree(folder)
            staging.rename(folder)


def _checksum(path: Path) -> int:
    """CRC-32 of a file: against damage, not against people."""
    checksum = 0
    with path.open("rb") as file:
        while block := file.read(_BLOCK):
            checksum = zlib.crc32(block, checksum)
    return checksum
