"""jsonl, strictly: one JSON object a line, no repeated keys, no NaN, one type a column.

Python's parser and not Arrow's, which takes NaN for a number and any text like "2020-01-01" for a date.
"""

import functools
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa

from matrixhub.data.delimited import not_utf8
from matrixhub.data.streams import chunked
from matrixhub.errors import DataError

_ROWS = 4096
_REFUSED = (pa.ArrowException, UnicodeEncodeError, OverflowError, ValueError, TypeError)


class JsonlFile:
    """One jsonl file. It is read twice: a column's type is known when its last value is."""

    def __init__(self, path: Path) -> None:
        self.path = path

    @functools.cached_property
    def schema(self) -> pa.Schema:
        """Columns in order of first appearance; integers and decimals together are decimals.

        Raises:
            DataError: an empty file, a line that is not a proper JSON object, mixed types in a column.
        """
        schema, start = pa.schema([]), 0
        for rows in chunked(self._rows(), _ROWS):
            names = list(dict.fromkeys(name for row in rows for name in row))
            schema = self._widen(schema, {n: [row.get(n) for row in rows] for n in names}, start)
            start += len(rows)
        if not start:
            raise DataError(f"{self.path} is empty: write one JSON object a line.")
        return schema

    def _widen(self, schema: pa.Schema, columns: dict[str, list[Any]], start: int) -> pa.Schema:
        for name, values in columns.items():
            known = schema.field(name).type if name in schema.names else pa.null()
            if (wider := _common(known, values)) is None:
                raise self._mixed(name, known, values, start)
            field = pa.field(name, wider)
            schema = (
                schema.set(schema.get_field_index(name), field)
                if name in schema.names
                else schema.append(field)
            )
        return schema

    def _mixed(self, name: str, known: pa.DataType, values: list[Any], start: int) -> DataError:
        """The first value that does not go with those before it, found by halving."""
        low, high = 0, len(values)  # values[:low] fit, values[:high] do not
        while high - low > 1:
            middle = (low + high) // 2
            low, high = (low, middle) if _common(known, values[:middle]) is None else (middle, high)
        before, here = _common(known, values[:low]), _common(pa.null(), values[low:high])
        message = (
            f"{self.path} holds {here} here and {before} above: a column needs one type."
            if here is not None
            else f"{self.path} holds a value that cannot be stored: an integer over 64 bits, half a surrogate"
            f" pair, or a list of mixed types."
        )
        return DataError(message, row=start + low, column=name)

    def blocks(self) -> Iterator[pa.Table]:
        """The rows, some thousands at a time."""
        for rows in chunked(self._rows(), _ROWS):
            yield pa.Table.from_pylist(rows, schema=self.schema)

    def _rows(self) -> Iterator[dict[str, Any]]:
        row = 0
        try:
            with self.path.open(encoding="utf-8-sig", newline="\n") as lines:
                for number, line in enumerate(lines, start=1):
                    if not line.isspace():
                        yield self._parse(line, row, number)
                        row += 1
        except UnicodeDecodeError:
            raise not_utf8(self.path) from None

    def _parse(self, line: str, row: int, number: int) -> dict[str, Any]:
        try:
            value = _DECODER.decode(line.strip())
        except _StrictError as error:
            raise DataError(f"line {number} of {self.path} {error}", row=row) from None
        except json.JSONDecodeError as error:
            hint = " Is the file a JSON list over many lines? Write one object a line." if row == 0 else ""
            message = (
                f"line {number} of {self.path} is not JSON ({error.msg} at character {error.colno}).{hint}"
            )
            raise DataError(message, row=row) from None
        except (ValueError, RecursionError):
            raise DataError(
                f"line {number} of {self.path} has a number too long or lists too deep.", row=row
            ) from None
        if not isinstance(value, dict):
            raise DataError(f"line {number} of {self.path} is not a JSON object like {{...}}.", row=row)
        return value


def _common(known: pa.DataType, values: Sequence[Any]) -> pa.DataType | None:
    """The type of values that may follow values of a known type; None where there is none."""
    try:
        schemas = [pa.schema([("x", known)]), pa.schema([("x", pa.array(values).type)])]
        return pa.unify_schemas(schemas, promote_options="permissive").field(0).type
    except _REFUSED:
        return None


class _StrictError(Exception):
    """What Python's parser lets pass and we don't."""


def _refuse_constant(text: str) -> None:
    raise _StrictError(f"has {text}, which JSON does not know: write null.")


def _refuse_repeated(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise _StrictError(f"has the key '{twice}' twice: keep one.")
    return found


_DECODER = json.JSONDecoder(object_pairs_hook=_refuse_repeated, parse_constant=_refuse_constant)
