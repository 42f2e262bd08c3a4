"""Finding files, and telling whether they changed. Pure Python: a plan needs fingerprints, not rows."""

import difflib
import glob
import hashlib
import os
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from matrixhub.errors import ConfigError, DataError

FORMATS = {
    ".csv": "csv",
    ".tsv": "tsv",
    ".tab": "tsv",
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".parquet": "parquet",
    ".pq": "parquet",
}
"""File extension to table format."""

_HASH_WHOLE = 32 * 2**20
_MOST_NAMES = 5000


def find_files(pattern: str | Sequence[str]) -> list[Path]:
    """The files that a path, a glob (``*``, ``?``, ``[]``, ``**``) or a list of them name, globs sorted.

    Raises:
        DataError: there is none, with the nearest names of that folder; or it is a folder.
    """
    patterns = [pattern] if isinstance(pattern, str | os.PathLike) else list(pattern)
    found = [path for each in patterns for path in _find(str(each))]
    if not found:
        raise DataError("No file is named: give 'path' a file, a list of files or a glob.")
    return found


def _find(pattern: str) -> Iterator[Path]:
    path = Path(pattern).expanduser()
    if path.is_dir():
        raise DataError(
            f"{pattern} is a folder, a table source reads files: write '{pattern.rstrip('/')}/*.csv' for its"
            f" csv files, or choose source 'images' for a folder of images."
        )
    if path.exists() and not os.access(path, os.R_OK):
        raise DataError(f"{pattern} may not be read by this user: change its permissions.")
    if path.exists():
        yield path
    elif matches := sorted(p for p in glob.glob(str(path), recursive=True) if Path(p).is_file()):  # noqa: PTH207 - it may be absolute
        yield from map(Path, matches)
    else:
        raise DataError(missing_file(path))


def missing_file(path: Path) -> str:
    """A sentence on a file that is not there, with the nearest names beside it."""
    folder = path.parent
    if not folder.is_dir():
        return f"There is no file {path}: its folder {folder} does not exist (paths start from {Path.cwd()})."
    what = "No file matches" if glob.has_magic(str(path)) else "There is no file"
    names = [entry.name for entry, _ in zip(os.scandir(folder), range(_MOST_NAMES), strict=False)]
    # By what stands before the extension: two csv files are not alike because both are csv files.
    stems: dict[str, list[str]] = {}
    for name in sorted(names):
        stems.setdefault(Path(name).stem, []).append(name)
    near = [name for stem in difflib.get_close_matches(path.stem, stems, n=3) for name in stems[stem]][:3]
    hint = f" Did you mean {' or '.join(repr(str(folder / name)) for name in near)}?" if near else ""
    return f"{what} {path}.{hint}"


def format_of(path: Path, cure: str = "rename it") -> str:
    """Table format of a file, by its extension.

    Args:
        path: of the file.
        cure: what to do where the extension tells nothing.

    Raises:
        ConfigError: the extension is none of ``FORMATS``.
    """
    if found := FORMATS.get(path.suffix.lower()):
        return found
    raise ConfigError(
        f"The format of {path} cannot be told from '{path.suffix}': known are {', '.join(FORMATS)}; {cure}."
    )


def fingerprint(options: object, files: Iterable[Path]) -> str:
    """Hex digest of options and file states.

    A file up to 32 MB counts by its bytes, so that a copy elsewhere is the same; a larger one by size
    and modification time.
    """
    digest = hashlib.sha256(repr(options).encode())
    for path in files:
        stat = path.stat()
        if stat.st_size <= _HASH_WHOLE:
            digest.update(hashlib.sha256(path.read_bytes()).digest())
        else:
            digest.update(f"{stat.st_size} {stat.st_mtime_ns}".encode())
    return digest.hexdigest()


def file_state(path: str | Path) -> bytes:
    """Name, size and modification time: changes when a file does, costs no reading."""
    try:
        stat = Path(path).stat()
    except (OSError, ValueError):  # a name too long, or with NUL in it
        return f"{path}\0missing\n".encode(errors="surrogateescape")
    return f"{path}\0{stat.st_size} {stat.st_mtime_ns}\n".encode(errors="surrogateescape")
