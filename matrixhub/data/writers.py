"""Rows to csv, tsv, jsonl or parquet, as they come; under the final name only when complete."""

import base64
import contextlib
import csv
import io
import json
import math
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any, Protocol, TypeAlias

import pyarrow as pa
import pyarrow.parquet

from matrixhub.data.files import format_of
from matrixhub.errors import ConfigError, DataError, UnknownNameError

RowsOut: TypeAlias = "pa.Table | Sequence[Mapping[str, Any]]"


class Writer(Protocol):
    """Takes rows: tables, or lists of dictionaries that have the columns of the first rows written."""

    def write(self, rows: RowsOut) -> None:
        """Append rows.

        Raises:
            DataError: a column the first rows did not have, or a value that does not fit its type.
        """
        ...

    def close(self) -> None:
        """Write what is still held."""
        ...


@contextmanager
def open_writer(
    target: str | Path | IO[bytes],
    format: str | None = None,  # noqa: A002 - its name on the command line
    *,
    schema: pa.Schema | None = None,
) -> Iterator[Writer]:
    """A writer to a file or to a binary stream such as ``sys.stdout.buffer``.

    A file is written under a hidden name beside it and renamed when the block ends; when the block
    raises, the hidden file goes and an older file of that name stays. Missing folders are made.

    Args:
        target: where to; the file name tells the format.
        format: csv, tsv, jsonl or parquet; needed for a stream.
        schema: columns and types; None takes them from the first rows written. Worth giving for parquet
            when the first rows may lack values.

    Raises:
        ConfigError: a format that is unknown or cannot be told.
    """
    if not isinstance(target, str | Path):
        if format is None:
            raise ConfigError("Rows written to a stream need a format: csv, tsv, jsonl or parquet.")
        with _writing(target, format, schema) as writer:
            yield writer
        target.flush()
        return
    path = Path(target).expanduser()
    kind = format or format_of(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    hidden = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        with hidden.open("wb") as file:
            with _writing(file, kind, schema) as writer:
                yield writer
            file.flush()
            os.fsync(file.fileno())
        hidden.replace(path)
    finally:
        hidden.unlink(missing_ok=True)


@contextmanager
def _writing(file: IO[bytes], kind: str, schema: pa.Schema | None) -> Iterator[Writer]:
    sink = _Sink(file)
    writer = _writer(sink, kind, schema)
    try:
        yield writer
    except BaseException:
        sink.file = None
        with contextlib.suppress(DataError):
            writer.close()
        raise
    writer.close()


class _Sink(io.RawIOBase):
    """A file that can be let go of: pyarrow's writer completes what it began, even after an error."""

    def __init__(self, file: IO[bytes]) -> None:
        self.file: IO[bytes] | None = file
        self._size = 0

    def write(self, data: Any, /) -> int:
        if self.file:
            self.file.write(data)
        self._size += len(data)
        return len(data)

    def tell(self) -> int:
        return self._size

    def writable(self) -> bool:
        return True


def _writer(file: _Sink, kind: str, schema: pa.Schema | None) -> Writer:
    match kind:
        case "csv":
            return _Delimited(file, ",", schema)
        case "tsv":
            return _Delimited(file, "\t", schema)
        case "jsonl":
            return _Jsonl(file)
        case "parquet":
            return _Parquet(file, schema)
        case _:
            raise UnknownNameError("format", kind, ("csv", "tsv", "jsonl", "parquet"))


class _Delimited:
    """Lists, structs and bytes as JSON; nothing as an empty cell."""

    def __init__(self, file: _Sink, delimiter: str, schema: pa.Schema | None) -> None:
        self._rows = csv.writer(
            _Encoded(file), delimiter=delimiter
        )  # ends lines with \r\n, and so quotes both
        self._names: list[str] = []
        if schema is not None:
            self._start(schema.names)

    def _start(self, names: Sequence[str]) -> None:
        self._names = list(names)
        self._rows.writerow(self._names)

    def write(self, rows: RowsOut) -> None:
        dicts = _dicts(rows)
        if dicts and not self._names:
            self._start(list(dicts[0]))
        for row in dicts:
            _require_known(row, self._names)
            self._rows.writerow([_cell(row.get(name)) for name in self._names])

    def close(self) -> None:
        """Nothing is held."""


class _Encoded:
    """Lines of text into a binary file."""

    def __init__(self, file: _Sink) -> None:
        self._file = file

    def write(self, line: str) -> None:
        self._file.write(line.removesuffix("\r\n").encode() + b"\n")


class _Jsonl:
    """NaN and infinity, which JSON lacks, as null; bytes in base 64."""

    def __init__(self, file: _Sink) -> None:
        self._file = file

    def write(self, rows: RowsOut) -> None:
        for row in _dicts(rows):
            self._file.write(_json(row).encode() + b"\n")

    def close(self) -> None:
        """Nothing is held."""


class _Parquet:
    def __init__(self, file: _Sink, schema: pa.Schema | None) -> None:
        self._file, self._schema = file, schema
        self._parquet: Any = None

    def write(self, rows: RowsOut) -> None:
        if not len(rows):
            return
        try:
            self._schema = self._schema or _without_nulls(_table(rows).schema)
            table = _table(rows, self._schema)
        except (pa.ArrowException, TypeError, ValueError, OverflowError) as error:
            raise DataError(f"Values do not fit their column: {error}.") from error
        self._open().write_table(table)

    def _open(self) -> Any:
        self._parquet = self._parquet or pyarrow.parquet.ParquetWriter(self._file, self._schema)
        return self._parquet

    def close(self) -> None:
        if self._schema is None:
            raise DataError("No rows were written: a parquet file needs columns.")
        self._open().close()


def _table(rows: RowsOut, schema: pa.Schema | None = None) -> pa.Table:
    if isinstance(rows, pa.Table):
        if schema is None:
            return rows
        _require_known(rows.column_names, schema.names)
        return rows.select(schema.names).cast(schema)
    names = list(dict.fromkeys(name for row in rows for name in row))
    if schema is None:
        return pa.table({name: [row.get(name) for row in rows] for name in names})
    _require_known(names, schema.names)
    return pa.Table.from_pylist(rows, schema=schema)


def _without_nulls(schema: pa.Schema) -> pa.Schema:
    """A column without a single value counts as text."""
    return pa.schema([f.with_type(pa.string()) if pa.types.is_null(f.type) else f for f in schema])


def _require_known(names: Iterable[str], allowed: Sequence[str]) -> None:
    if strange := [name for name in names if name not in allowed]:
        raise DataError(
            f"the rows written before have no such column, only {', '.join(allowed)}.", column=strange[0]
        )


def _dicts(rows: RowsOut) -> Sequence[Mapping[str, Any]]:
    found: Sequence[Mapping[str, Any]] = rows.to_pylist() if isinstance(rows, pa.Table) else rows
    return found


def _cell(value: Any) -> Any:
    match value:
        case None:
            return ""
        case bool() | list() | tuple() | Mapping() | bytes():
            return _json(value)
        case _:
            return value


def _json(value: Any) -> str:
    try:
        return json.dumps(value, ensure_ascii=False, allow_nan=False, default=_plain)
    except ValueError:
        return json.dumps(_finite(value), ensure_ascii=False, default=_plain)


def _plain(value: Any) -> Any:
    """What the json module does not know: bytes in base 64, anything else (dates, decimals) as text."""
    return base64.b64encode(value).decode() if isinstance(value, bytes) else str(value)


def _finite(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
