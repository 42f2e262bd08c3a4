"""The feature store: what encoders said about rows, on disk, found again by the content of each row.

A shelf holds all rows that one encoder with one set of options has seen, in segments (see ``segments``).
Readers take no lock: what they cannot find or read is missing for them, and whoever has the lock computes it.
"""

import contextlib
import dataclasses
import json
import os
import shutil
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from filelock import FileLock

from matrixhub.data.cache import ABOUT, ShelfSummary, prune, shelf_folder, shelf_lock, shelves
from matrixhub.data.segments import (
    SCRATCH,
    Array,
    DamagedError,
    Segment,
    Vectors,
    segment_folders,
    write_segment,
)
from matrixhub.errors import TrainingError

SMALL, LARGE = 64 << 20, 256 << 20
"""Bytes of features: segments below the one are merged when there are many, up to the other. Every batch of
rows is gathered from all segments, and a copy costs next to nothing beside the encoding."""

MANY = 4


class Blocks:
    """Arrays (n, D) that read as one of (sum of n, D), without a copy of them in memory."""

    def __init__(self, arrays: Sequence[Array]) -> None:
        self.arrays = arrays
        self.starts = np.cumsum([0, *(len(array) for array in arrays)])
        self.shape = (int(self.starts[-1]), arrays[0].shape[1])

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, lines: Array) -> Array:
        """Lines (…,) as an array (…, D)."""
        taken = np.empty((*lines.shape, self.shape[1]), dtype=np.float32)
        which = np.searchsorted(self.starts, lines, side="right") - 1
        for index in np.unique(which):
            mine = which == index
            taken[mine] = self.arrays[index][lines[mine] - self.starts[index]]
        return taken


@dataclass(frozen=True, slots=True)
class StoredFeatures:
    """Memory-mapped features of N rows.

    Attributes:
        data: float32 (sum of T, D), an array or ``Blocks``.
        spans: int64 (N, 2), start and length of each row in ``data``.
        truncated: bool (N,).
        pooled: whether every row has one vector.
        leads: whether the first of several is the pooled one.
        present: bool (N,), False where a row has none of its own; None where all have.
    """

    data: Any
    spans: Array
    truncated: Array
    pooled: bool
    leads: bool = False
    present: Array | None = None

    @property
    def dim(self) -> int:
        """D."""
        return int(self.data.shape[1])

    def spread(self, present: Array) -> "StoredFeatures":
        """Over more rows: those ``present``, bool (N,), are these; what the others show is the shortest."""
        rows = np.where(present, np.cumsum(present) - 1, self.spans[:, 1].argmin())
        truncated = self.truncated[rows] & present
        return dataclasses.replace(self, spans=self.spans[rows], truncated=truncated, present=present)

    def first(self) -> "StoredFeatures":
        """The pooled vectors alone, of features that they lead."""
        spans = np.stack([self.spans[:, 0], np.ones_like(self.spans[:, 0])], axis=1)
        return dataclasses.replace(self, spans=spans, pooled=True, leads=False)

    def pooled_rows(self, rows: Array) -> Array:
        """Features (B, D) of these rows, in this order."""
        return np.asarray(self.data[self.spans[rows, 0]])

    def token_rows(self, rows: Array) -> tuple[Array, Array]:
        """Features (B, T, D), zero-padded, and mask (B, T) of these rows, in this order."""
        starts_B1, lengths_B1 = np.split(self.spans[rows], 2, axis=1)
        steps_T = np.arange(max(int(lengths_B1.max(initial=0)), 1))
        mask_BT = steps_T < lengths_B1
        if not mask_BT.any():
            return np.zeros((*mask_BT.shape, self.dim), dtype=np.float32), mask_BT
        # One gather, padding included: the first line stands in for it, and is wiped out.
        tokens_BTD = np.asarray(self.data[np.where(mask_BT, starts_B1 + steps_T, 0)])
        tokens_BTD[~mask_BT] = 0
        return tokens_BTD, mask_BT


@dataclass(frozen=True, slots=True)
class Part:
    """What one rank encoded: vectors one after another, and which rows they belong to."""

    data: Array
    rows: Array
    lengths: Array
    truncated: Array


@dataclass(frozen=True, slots=True)
class Found:
    """What a shelf has of the rows that were asked for.

    Attributes:
        features: of all of them; None when some are missing.
        missing: int64 positions, one for each content that is missing.
        damaged: folders of segments that are not what was written.
    """

    features: StoredFeatures | None
    missing: Array
    damaged: list[Path]


class Shelf:
    """Features of any number of rows, from one encoder with one set of options at one level.

    Args:
        folder: made when first written to.
        about: what made them, as plain data; ``level`` is ``"pooled"``, ``"tokens"`` or ``"both"``.
    """

    def __init__(self, folder: Path, about: Mapping[str, Any]) -> None:
        self.folder = folder
        self.about = about

    def lock(self) -> FileLock:
        """For those who write; readers need none.

        Raises:
            TrainingError: the folder cannot be written to.
        """
        with self._writing():
            self.folder.parent.mkdir(parents=True, exist_ok=True)
        return shelf_lock(self.folder)

    def find(self, digests: Array) -> Found:
        """Look rows up by their digests, uint8 (N, 32)."""
        with contextlib.suppress(OSError):
            os.utime(self.folder / ABOUT)
        segments, damaged = self._open()
        return self._find(digests, segments, damaged)

    def num_missing(self, digests: Array) -> int:
        """Of rows with these digests, uint8 (N, 32); their features are not looked at."""
        segments, _ = self._open()
        return int((_places(digests, [segment.digests for segment in segments]) < 0).sum())

    def _open(self) -> tuple[list[Segment], list[Path]]:
        """Segments, and folders of those that are damaged."""
        segments, damaged = [], []
        for folder in segment_folders(self.folder):
            try:
                segments.append(Segment.open(folder))
            except DamagedError:
                damaged.append(folder)
        return segments, damaged

    def _find(self, digests: Array, segments: list[Segment], damaged: list[Path]) -> Found:
        starts = np.cumsum([0, *(len(segment.digests) for segment in segments)])
        places = _places(digests, [segment.digests for segment in segments])
        which = np.searchsorted(starts, places, side="right") - 1
        read: dict[int, Vectors] = {}
        for index in np.unique(which[places >= 0]).tolist():
            try:
                read[index] = segments[index].vectors()
            except DamagedError:
                whole = segments[:index] + segments[index + 1 :]
                return self._find(digests, whole, [*damaged, segments[index].folder])
        unknown = np.flatnonzero(places < 0)
        if len(unknown) or not read:
            firsts = _places(digests[unknown], [digests[unknown]]) == np.arange(len(unknown))
            return Found(None, unknown[firsts], damaged)
        rows = places - starts[which]
        return Found(_features(read, which, rows, level=self.about["level"]), unknown, damaged)

    def begin(self, digests: Array) -> Array:
        """Under the lock: clear away what is of no use; positions of the rows to encode, each content once.

        Raises:
            TrainingError: the folder cannot be written to.
        """
        found = self.find(digests)
        with self._writing():
            self.folder.mkdir(parents=True, exist_ok=True)
            # Scratch of writers that were killed: the lock is ours now.
            for useless in (*self.folder.glob(f"{SCRATCH}*"), *found.damaged):
                shutil.rmtree(useless)
            if not (self.folder / ABOUT).exists():
                (self.folder / ABOUT).write_text(json.dumps(self.about))
        return found.missing

    def add(self, part: Part, digests: Array) -> None:
        """Under the lock: keep what was encoded, as one segment.

        Args:
            part: of one rank.
            digests: uint8 (N, 32), which ``part.rows`` are positions in.

        Raises:
            TrainingError: the folder cannot be written to.
        """
        spans = np.stack([np.cumsum(part.lengths) - part.lengths, part.lengths], axis=1)
        with self._writing():
            write_segment(self.folder, [(digests[part.rows], Vectors(part.data, spans, part.truncated))])

    def merge(self) -> None:
        """Under the lock: put many small segments together.

        Raises:
            TrainingError: the folder cannot be written to.
        """
        small = []
        for folder in segment_folders(self.folder):
            with contextlib.suppress(DamagedError):
                segment = Segment.open(folder)
                small += [segment] if segment.size < SMALL else []
        if len(small) <= MANY:
            return
        group: list[tuple[Segment, Vectors]] = []
        for segment in small:
            with contextlib.suppress(DamagedError):
                group.append((segment, segment.vectors()))
            if sum(vectors.data.nbytes for _, vectors in group) > LARGE - SMALL:
                self._join(group)
                group = []
        self._join(group)

    def _join(self, group: Sequence[tuple[Segment, Vectors]]) -> None:
        if len(group) < 2:
            return
        with self._writing():
            write_segment(self.folder, [(segment.digests, vectors) for segment, vectors in group])
            for segment, _ in group:
                shutil.rmtree(segment.folder)

    @contextlib.contextmanager
    def _writing(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise TrainingError(
                f"Features cannot be stored in {self.folder}: {error}. Make room (matrixhub cache prune), or "
                "choose another place with cache_dir=PATH."
            ) from error


@dataclass(slots=True)
class FeatureStore:
    """Shelves below one folder.

    Args:
        root: made when first written to.
        max_bytes: before more is written, the shelves used longest ago are removed; None keeps all.
    """

    root: Path
    max_bytes: float | None = None
    _in_use: set[str] = field(default_factory=set)
    _room: float = 0

    def shelf(self, key: str, about: Mapping[str, Any]) -> Shelf:
        """The shelf of that key, which is kept from now on, whatever it takes."""
        self._in_use.add(key)
        return Shelf(shelf_folder(self.root, key), about)

    def make_room(self, num_bytes: int) -> list[ShelfSummary]:
        """Before that many bytes are written: shelves that had to be removed for them."""
        if self.max_bytes is None:
            return []
        self._room -= num_bytes
        if self._room >= 0:
            return []
        removed = prune(self.root, max_bytes=max(self.max_bytes - num_bytes, 0), keep=self._in_use)
        self._room = self.max_bytes - num_bytes - sum(one.num_bytes for one in shelves(self.root))
        return removed


def _places(digests: Array, among: Sequence[Array]) -> Array:
    """Where each digest first stands in the others, taken one after another; -1 where it does not."""
    known = np.concatenate(among) if among else np.empty((0, 32), dtype=np.uint8)
    found = pc.index_in(_binary(digests), value_set=_binary(known))
    return np.asarray(found.fill_null(-1).to_numpy(zero_copy_only=False)).astype(np.int64)


def _binary(digests: Array) -> pa.Array:
    whole = np.ascontiguousarray(digests)
    return pa.FixedSizeBinaryArray.from_buffers(pa.binary(32), len(whole), [None, pa.py_buffer(whole)])


def _features(read: Mapping[int, Vectors], which: Array, rows: Array, *, level: str) -> StoredFeatures:
    """Features of rows that are ``rows`` of the segments ``which``, each (N,)."""
    spans = np.empty((len(rows), 2), dtype=np.int64)
    truncated = np.empty(len(rows), dtype=bool)
    line = 0
    for index, vectors in read.items():
        mine = which == index
        spans[mine] = vectors.spans[rows[mine]] + np.array([line, 0])
        truncated[mine] = vectors.truncated[rows[mine]]
        line += len(vectors.data)
    arrays = [vectors.data for vectors in read.values()]
    data = arrays[0] if len(arrays) == 1 else Blocks(arrays)
    return StoredFeatures(data, spans, truncated, pooled=level == "pooled", leads=level == "both")
