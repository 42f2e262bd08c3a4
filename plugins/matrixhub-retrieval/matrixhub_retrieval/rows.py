"""What an index keeps of rows: the columns that can be shown, and what tells rows apart."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa

from matrixhub import PATH_FIELD, DataError

CONTENT, WHOLE = "__content__", "__row__"
"""Columns beside those that are shown: a digest of what is encoded, and one of all that is kept of a row."""


def encoded_column(table: pa.Table, column: str | Sequence[str]) -> list[str]:
    """A digest of what each row holds in the columns that an input reads; files count by their bytes.

    Raises:
        DataError: there is no such column, a value is missing, or a file cannot be read.
    """
    columns = [column] if isinstance(column, str) else list(column)
    if missing := [name for name in columns if name not in table.column_names]:
        there = ", ".join(table.column_names)
        raise DataError(f"there is no column '{missing[0]}', by which rows are found. There is: {there}.")
    are_paths = [(table.schema.field(name).metadata or {}).items() >= PATH_FIELD.items() for name in columns]
    rows = zip(*(table[name].to_pylist() for name in columns), strict=True)
    return [
        _digest(
            [
                _read(value, is_path, row, name)
                for value, is_path, name in zip(values, are_paths, columns, strict=True)
            ]
        )
        for row, values in enumerate(rows)
    ]


def shown(table: pa.Table, contents: Sequence[str]) -> pa.Table:
    """The columns that can be shown, paths of files among them but not their bytes, and the two digests."""
    kept = [name for name in table.column_names if _can_be_shown(table.schema.field(name).type)]
    plain = table.select(kept).replace_schema_metadata(None)
    plain = plain.cast(pa.schema([pa.field(field.name, field.type) for field in plain.schema]))
    wholes = [_digest([content, row]) for content, row in zip(contents, plain.to_pylist(), strict=True)]
    found = plain.append_column(CONTENT, pa.array(contents, pa.string()))
    return found.append_column(WHOLE, pa.array(wholes, pa.string()))


def _can_be_shown(kind: pa.DataType) -> bool:
    return not (pa.types.is_nested(kind) or pa.types.is_binary(kind) or pa.types.is_large_binary(kind))


def _read(value: Any, is_path: bool, row: int, name: str) -> Any:
    if value is None:
        raise DataError("a value is missing, and a row is found by it.", row=row, column=name)
    path = value if is_path else value.get("path") if _is_file(value) and value["bytes"] is None else None
    try:
        content = Path(path).read_bytes() if path is not None else value["bytes"] if _is_file(value) else None
    except OSError as error:
        raise DataError(f"its file cannot be read: {error.strerror}.", row=row, column=name) from None
    return value if content is None else hashlib.sha256(content).hexdigest()


def _is_file(value: Any) -> bool:
    return isinstance(value, Mapping) and value.keys() == {"bytes", "path"}


def _digest(parts: Any) -> str:
    text = json.dumps(parts, default=str, ensure_ascii=False)
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()
