"""Columns of a table as the values that processors take."""

from collections.abc import Iterable
from typing import Any

import numpy as np
import pyarrow as pa

from matrixhub.errors import DataError, unknown_name
from matrixhub.types import SPLIT_COLUMN

Rows = np.ndarray[Any, np.dtype[np.int64]]


def as_columns(column: Any) -> list[str]:
    """One column name, or several that make one value together, as a list."""
    return [column] if isinstance(column, str) else [str(name) for name in column]


def require_columns(table: pa.Table, names: Iterable[str], *, role: str) -> None:
    """Refuse a table that lacks a column.

    Raises:
        DataError: names the column, the nearest ones, and what to type.
    """
    present = [name for name in table.column_names if name != SPLIT_COLUMN]
    for name in names:
        if name not in present:
            raise DataError(unknown_name("column", name, present, f"It was named as {role}."))


def require_values(table: pa.Table, names: Iterable[str], rows: Rows | None = None) -> None:
    """Refuse a missing value (null).

    Args:
        table: the rows.
        names: columns that must be full.
        rows: their positions in a larger table; None: this is it.

    Raises:
        DataError: names the first row without a value.
    """
    for name in names:
        if table[name].null_count:
            first = int(np.flatnonzero(table[name].is_null().to_numpy(zero_copy_only=False))[0])
            raise DataError(
                "the value is missing", row=first if rows is None else int(rows[first]), column=name
            )


def is_marked(table: pa.Table, column: str, mark: dict[bytes, bytes]) -> bool:
    """Whether the source gave the column this field metadata."""
    metadata = table.schema.field(column).metadata or {}
    return all(metadata.get(key) == value for key, value in mark.items())


def values(
    table: pa.Table, column: Any, rows: Rows | None = None, *, words: bool = False, nulls: bool = False
) -> list[Any]:
    """Raw values of an input, one a row.

    Args:
        table: the rows.
        column: its column, or several of any types, whose values come as one tuple a row.
        rows: positions to take; None takes all.
        words: split plain strings at white space, for tasks that answer word by word.
        nulls: give missing values as None, to encoders that take them.

    Raises:
        DataError: a value is missing (null), unless ``nulls``.
    """
    names = as_columns(column)
    taken = table.select(names) if rows is None else table.select(names).take(pa.array(rows))
    if not nulls:
        require_values(taken, names, rows)
    columns: list[list[Any]] = [taken[name].to_pylist() for name in names]
    if len(columns) > 1:
        return list(zip(*columns, strict=True))
    if words:
        return [value.split() if isinstance(value, str) else value for value in columns[0]]
    return columns[0]
