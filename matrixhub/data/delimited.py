"""csv and tsv, block by block. Every cell is a string: nothing is guessed, "NA" stays "NA"."""

import csv
import functools
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.csv

from matrixhub.data.headers import require_good_header
from matrixhub.errors import ConfigError, DataError
from matrixhub.types import UNTYPED_FIELD

_BLOCK = 8 * 2**20
_UTF16 = (b"\xff\xfe", b"\xfe\xff")


class DelimitedFile:
    """One csv or tsv file with a header; cells may be quoted and hold line breaks."""

    def __init__(self, path: Path, delimiter: str) -> None:
        if len(delimiter.encode()) != 1 or delimiter in '"\r\n':
            raise ConfigError(f"delimiter is {delimiter!r}: it must be one ASCII character, such as ';'.")
        self.path, self.delimiter = path, delimiter

    @functools.cached_property
    def schema(self) -> pa.Schema:
        """The header's columns, all strings marked as untyped.

        Raises:
            DataError: no header, no rows, a repeated column, not UTF-8.
        """
        header = self._first_records()
        require_good_header(header, self.path)
        return pa.schema([pa.field(name, pa.string(), metadata=UNTYPED_FIELD) for name in header])

    def _first_records(self) -> list[str]:
        try:
            with self.path.open(encoding="utf-8-sig", newline="") as text:
                records = (r for r in csv.reader(text, delimiter=self.delimiter) if r)
                header, first = next(records, None), _is_there_more(records)
        except UnicodeDecodeError:
            raise not_utf8(self.path) from None
        if header is None:
            raise DataError(f"{self.path} is empty: its first line must name the columns.")
        if not first:
            raise DataError(f"{self.path} has a header and no rows.")
        return header

    def blocks(self) -> Iterator[pa.Table]:
        """The rows, some megabytes at a time.

        Raises:
            DataError: a row with more or fewer cells than the header, a quote never closed, not UTF-8.
        """
        ragged: list[Any] = []
        last_cell = ""
        try:
            for block in self._open(ragged):
                table = pa.Table.from_batches([block]).cast(self.schema)
                if table.num_rows:
                    last_cell = table.column(table.num_columns - 1)[-1].as_py()
                    yield table
        except pa.ArrowInvalid as error:
            raise self._explain(error, ragged) from None
        if "\n" in last_cell and not _tail(self.path).endswith(b'"'):
            raise DataError(f"{self.path}: a quote that opens in the last row is never closed.")

    def _open(self, ragged: list[Any]) -> Any:
        def keep(row: Any) -> str:
            ragged.append(row)
            return "error"

        return pyarrow.csv.open_csv(
            self.path,
            # One thread: rows are numbered in messages, and reading ahead would hold more blocks.
            read_options=pyarrow.csv.ReadOptions(block_size=_BLOCK, use_threads=False),
            parse_options=pyarrow.csv.ParseOptions(
                delimiter=self.delimiter, newlines_in_values=True, invalid_row_handler=keep
            ),
            convert_options=pyarrow.csv.ConvertOptions(
                column_types={name: pa.string() for name in self.schema.names}, strings_can_be_null=False
            ),
        )

    def _explain(self, error: Exception, ragged: list[Any]) -> DataError:
        if ragged:
            return self._ragged(ragged[0])
        if "UTF8" in str(error):
            return not_utf8(self.path)
        if "straddling" in str(error):
            return DataError(
                f"{self.path} has a row longer than {_BLOCK // 2**20} MB, or a quote that is never closed:"
                f" use parquet or jsonl for such rows."
            )
        return DataError(f"{self.path} cannot be read as {self.delimiter!r}-separated text: {error}.")

    def _ragged(self, row: Any) -> DataError:
        cells = f"{row.actual_columns} cell{'' if row.actual_columns == 1 else 's'}"
        if row.actual_columns > row.expected_columns:
            hint = f"quote a cell that holds {self.delimiter!r}."
        else:
            hint = (
                "a quote may be left open." if "\n" in row.text else "leave cells empty, but write them all."
            )
        message = f"{self.path} has {cells} here, the header has {row.expected_columns}: {hint}"
        return DataError(message, row=None if row.number is None else row.number - 2)


def _is_there_more(records: Iterator[list[str]]) -> bool:
    try:
        return next(records, None) is not None
    except csv.Error:  # a cell over the csv module's limit, which is a row nonetheless
        return True


def _tail(path: Path) -> bytes:
    """The end of a file without its line breaks."""
    with path.open("rb") as file:
        file.seek(max(0, path.stat().st_size - 64))
        return file.read().rstrip(b"\r\n")


def _is_utf8(line: bytes) -> bool:
    try:
        line.decode()
    except UnicodeDecodeError:
        return False
    return True


def not_utf8(path: Path) -> DataError:
    """The error for a text file in another encoding, naming the first line that shows it."""
    with path.open("rb") as file:
        if file.read(2) in _UTF16:
            return DataError(f"{path} is UTF-16: save it as UTF-8 (iconv -f UTF-16 -t UTF-8).")
        file.seek(0)
        number = next((n for n, line in enumerate(file, start=1) if not _is_utf8(line)), 1)
    return DataError(
        f"{path} is not UTF-8 (see line {number}): save it as UTF-8, such as by"
        f" iconv -f ENCODING -t UTF-8 with GB18030 or WINDOWS-1252 as ENCODING."
    )
