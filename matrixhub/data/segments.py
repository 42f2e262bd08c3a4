"""Segments: rows of features in a folder that is written whole or not seen at all, and never changed.

``data.npy`` (float32, (sum of T, D); one line a row when pooled), ``spans.npy`` (int64, (N, 2): start and
length of each row in it), ``truncated.npy`` (bool, (N,)), ``digests.npy`` (uint8, (N, 32): what each row
holds), and ``meta.json`` with the number of rows and the checksums of these files.
"""

import hashlib
import json
import tempfile
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import numpy as np

Array = np.ndarray[Any, np.dtype[Any]]

META, SCRATCH = "meta.json", ".writing-"
DATA, SPANS, TRUNCATED, DIGESTS = FILES = ("data.npy", "spans.npy", "truncated.npy", "digests.npy")
_BLOCK = 1 << 22


class DamagedError(Exception):
    """A segment that is not what was written."""


@dataclass(frozen=True, slots=True)
class Vectors:
    """Features of N rows.

    Attributes:
        data: float32 (sum of T, D).
        spans: int64 (N, 2), start and length of each row in ``data``.
        truncated: bool (N,).
    """

    data: Array
    spans: Array
    truncated: Array


@dataclass(frozen=True, slots=True)
class Segment:
    """A segment on disk, its features not read yet.

    Attributes:
        folder: where it is.
        digests: uint8 (N, 32), of its rows.
    """

    folder: Path
    digests: Array

    @classmethod
    def open(cls, folder: Path) -> "Segment":
        """Read which rows it has.

        Raises:
            DamagedError: it cannot be.
        """
        segment = cls(folder, _load(folder, DIGESTS))
        if segment.digests.shape[1:] != (32,):
            raise DamagedError(folder)
        return segment

    @property
    def size(self) -> int:
        """Bytes of its features; 0 where they are missing."""
        path = self.folder / DATA
        return path.stat().st_size if path.exists() else 0

    def vectors(self) -> Vectors:
        """Its features, the large part memory-mapped, after a look at the checksums.

        Raises:
            DamagedError: it is not whole.
        """
        return Vectors(
            np.asarray(_load(self.folder, DATA, mmap_mode="r")),
            _load(self.folder, SPANS),
            _load(self.folder, TRUNCATED),
        )


def write_segment(shelf: Path, parts: Sequence[tuple[Array, Vectors]]) -> None:
    """Write one segment from the digests and features of several parts, one after another.

    It is named by its rows, and appears under that name when all of it is there.
    """
    digests = np.concatenate([digests for digests, _ in parts])
    lines = np.cumsum([0, *(len(vectors.data) for _, vectors in parts)])
    shifted = [
        vectors.spans + np.array([line, 0])
        for line, (_, vectors) in zip(lines[:-1].tolist(), parts, strict=True)
    ]
    folder = shelf / hashlib.sha256(digests.tobytes()).hexdigest()[:16]
    with tempfile.TemporaryDirectory(dir=shelf, prefix=SCRATCH) as scratch:
        staging = Path(scratch) / folder.name
        staging.mkdir()
        with (staging / DATA).open("wb") as file:
            _save_joined(file, [vectors.data for _, vectors in parts])
        np.save(staging / SPANS, np.concatenate(shifted))
        np.save(staging / TRUNCATED, np.concatenate([vectors.truncated for _, vectors in parts]))
        np.save(staging / DIGESTS, digests)
        checksums = {name: _checksum(staging / name) for name in FILES}
        (staging / META).write_text(json.dumps({"rows": len(digests), "checksums": checksums}))
        if not folder.exists():
            staging.rename(folder)


def segment_folders(shelf: Path) -> Iterator[Path]:
    """Folders of whole segments."""
    try:
        yield from sorted(path for path in shelf.iterdir() if path.is_dir() and path.name[0] != ".")
    except (FileNotFoundError, NotADirectoryError):
        return


def _save_joined(file: IO[bytes], arrays: Sequence[Array]) -> None:
    """As ``np.save`` of all of them joined, without a copy in memory."""
    shape = (sum(len(array) for array in arrays), *arrays[0].shape[1:])
    header = {"descr": "<f4", "fortran_order": False, "shape": shape}
    np.lib.format.write_array_header_1_0(file, header)
    for array in arrays:
        np.ascontiguousarray(array, dtype="<f4").tofile(file)


def _load(folder: Path, name: str, **options: Any) -> Array:
    path = folder / name
    try:
        meta = json.loads((folder / META).read_text())
        if _checksum(path) != meta["checksums"][name]:
            raise DamagedError(path)
        array: Array = np.load(path, allow_pickle=False, **options)
    except (OSError, ValueError, EOFError, KeyError, TypeError) as error:
        raise DamagedError(path) from error
    return array


def _checksum(path: Path) -> int:
    """CRC-32 of a file: against damage, not against people."""
    checksum = 0
    with path.open("rb") as file:
        while block := file.read(_BLOCK):
            checksum = zlib.crc32(block, checksum)
    return checksum
