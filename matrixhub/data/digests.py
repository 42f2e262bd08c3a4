"""What a row holds, in 32 bytes: the same in any process, order, chunking or file format."""

import hashlib
import unicodedata
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from matrixhub.data.columns import is_marked, require_columns
from matrixhub.errors import DataError
from matrixhub.types import PATH_FIELD

_ROWS = 8192
_THREADS = 4
_FILE = {"bytes", "path"}


def digest_table(table: pa.Table, columns: Sequence[str], *, exact: bool = False) -> NDArray[np.uint8]:
    """As ``row_digests``, in one array (N, 32)."""
    blocks = [np.frombuffer(b"".join(some), dtype=np.uint8) for some in _blocks(table, columns, exact)]
    return np.concatenate([np.empty(0, dtype=np.uint8), *blocks]).reshape(-1, 32)


def row_digests(table: pa.Table, columns: Sequence[str], *, exact: bool = False) -> list[bytes]:
    """A sha256 digest of each row's content in some columns.

    Files count by their bytes, whether a column holds their paths or the bytes themselves.

    Args:
        table: the rows.
        columns: those that count, in an order that counts too; their names don't.
        exact: False takes text that differs only in case, white space or Unicode form for the same, and
            1 for 1.0, which is right for finding repeated rows; True tells all of these apart, which
            is right for naming what was computed from a row.

    Raises:
        DataError: a missing column, or a file that cannot be read, naming its row.
    """
    return [digest for some in _blocks(table, columns, exact) for digest in some]


def _blocks(table: pa.Table, columns: Sequence[str], exact: bool) -> Iterator[list[bytes]]:
    require_columns(table, columns, role="content of a row")
    chosen = table.select(list(columns))
    for start in range(0, chosen.num_rows, _ROWS):
        part = chosen.slice(start, _ROWS)
        encoded = [_encode_column(part, name, start, exact) for name in columns]
        yield [_joined(cells) for cells in zip(*encoded, strict=True)]


def _encode_column(part: pa.Table, name: str, start: int, exact: bool) -> list[bytes]:
    values = part.column(name).to_pylist()
    encode = _encode_exact if exact else _encode_loose
    if is_marked(part, name, PATH_FIELD):
        values = list(map(_as_file, values))
    if not any(isinstance(value, Mapping) and value.keys() == _FILE for value in values):
        return [encode(value) for value in values]

    def encode_row(row: int) -> bytes:
        try:
            return encode(values[row])
        except (OSError, ValueError) as error:
            raise DataError(f"its file cannot be read: {error}.", row=start + row, column=name) from error

    with ThreadPoolExecutor(_THREADS) as threads:
        return list(threads.map(encode_row, range(len(values))))


def _as_file(path: str | None) -> dict[str, Any] | None:
    return None if path is None else {"bytes": None, "path": path}


def _joined(parts: Sequence[bytes]) -> bytes:
    """One digest of several parts; lengths go in, so that what is cut differently differs."""
    digest = hashlib.sha256()
    for part in parts:
        digest.update(len(part).to_bytes(8, "little"))
        digest.update(part)
    return digest.digest()


def _encode_exact(value: Any) -> bytes:
    if isinstance(value, str):
        return b"s" + value.encode()
    return _encode(value, _encode_exact) or f"{type(value).__name__} {value!r}".encode()


def _encode_loose(value: Any) -> bytes:
    if isinstance(value, str):
        text = value if value.isascii() else unicodedata.normalize("NFKC", value)
        text = text.casefold()
        # Folding can undo the normal form ("ΐ" and its parts), so it is made again.
        text = text if text.isascii() else unicodedata.normalize("NFKC", text)
        return b"s" + " ".join(text.split()).encode()
    if isinstance(value, int | float):
        # Floats that are whole numbers count as integers: tables turn one into the other.
        whole = isinstance(value, float) and value.is_integer()
        return f"n {int(value) if whole else value!r}".encode()
    return _encode(value, _encode_loose) or f"{type(value).__name__} {value!r}".encode()


def _encode(value: Any, each: Callable[[Any], bytes]) -> bytes:
    """Nothing, bytes, files, lists and structs; empty for any other value."""
    if value is None:
        return b"-"
    if isinstance(value, bytes):
        return b"f" + hashlib.sha256(value).digest()
    if isinstance(value, Mapping):
        if value.keys() == _FILE and (value["bytes"] is not None or value["path"]):
            return b"f" + _content_digest(value)
        return b"m" + _joined(list(_items(value, each)))
    if isinstance(value, list | tuple):
        return b"l" + _joined([each(item) for item in value])
    return b""


def _items(value: Mapping[str, Any], each: Callable[[Any], bytes]) -> Iterator[bytes]:
    for key in sorted(value):
        yield key.encode()
        yield each(value[key])


def _content_digest(value: Mapping[str, Any]) -> bytes:
    if value["bytes"] is not None:
        return hashlib.sha256(value["bytes"]).digest()
    with Path(value["path"]).open("rb") as file:
        return hashlib.file_digest(file, "sha256").digest()
