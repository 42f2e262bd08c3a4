"""Columns of a table as the values that processors take."""

import difflib
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from matrixhub.errors import DataError, unknown_name
from matrixhub.types import PATH_FIELD, SPLIT_COLUMN, UNTYPED_FIELD

Rows = np.ndarray[Any, np.dtype[np.int64]]
Flags = np.ndarray[Any, np.dtype[np.bool_]]


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


def require_inputs_of(table: pa.Table, inputs: Mapping[str, Any]) -> None:
    """Refuse a table that lacks a column of a trained product's inputs.

    Raises:
        DataError: names the column, and the nearest one.
    """
    for column in (name for one in inputs.values() for name in as_columns(one["column"])):
        if column not in table.column_names:
            raise DataError(lacks(column, table.column_names))


def lacks(column: str, present: Sequence[str]) -> str:
    """What is wrong with a table, or a row, that has none of a column that a trained product reads."""
    near = difflib.get_close_matches(column, present, n=1)
    hint = f" Did you mean '{column}' where it says '{near[0]}'?" if near else ""
    return f"there is no '{column}', which this product reads.{hint} There is: {', '.join(present)}."


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
        if (first := _first_null(table, name)) is not None:
            raise DataError(
                "the value is missing", row=first if rows is None else int(rows[first]), column=name
            )


def require_width(value: Any, columns: Sequence[str], row: int) -> None:
    """Refuse a value of an input that has not one part for each of its columns.

    Args:
        value: of several columns, a tuple or a list; of one, anything but a tuple, which is several.
        columns: of the input.
        row: its position.

    Raises:
        DataError: says how many parts there are, and what they should be.
    """
    is_parts = isinstance(value, tuple) or (isinstance(value, list) and len(columns) > 1)
    if (given := len(value) if is_parts else 1) != len(columns):
        wanted = f"{len(columns)} column{'s' * (len(columns) > 1)} expected ({', '.join(columns)})"
        tuples = ": give a tuple in this order, or a mapping" if len(columns) > 1 else ""
        raise DataError(f"{wanted}, {given} given{tuples}.", row=row)


def _first_null(table: pa.Table, name: str) -> int | None:
    """The first row without a value in that column."""
    if not table[name].null_count:
        return None
    return int(np.flatnonzero(table[name].is_null().to_numpy(zero_copy_only=False))[0])


def present_rows(table: pa.Table, one: Mapping[str, Any]) -> Flags | None:
    """Which rows (N,) have an optional input: a value in one of its columns at least; None if all must.

    Args:
        table: the rows; in a column of a format without types, an empty text is no value.
        one: the input.
    """
    if not one.get("optional"):  # artifacts of earlier versions don't say
        return None
    found = np.zeros(table.num_rows, dtype=bool)
    for name in as_columns(one["column"]):
        column = table[name]
        if is_marked(table, name, UNTYPED_FIELD):
            column = pc.if_else(pc.equal(pc.utf8_trim_whitespace(column), ""), None, column)
        found |= column.is_valid().to_numpy(zero_copy_only=False)
    return found


def require_inputs(table: pa.Table, inputs: Mapping[str, Any]) -> None:
    """Refuse a row that lacks all of a product's inputs, or the file of one that is not optional.

    Raises:
        DataError: names the first one.
    """
    for name, one in inputs.items():
        for column in as_columns(one["column"]) if not one.get("optional") else ():
            first = _first_null(table, column) if is_marked(table, column, PATH_FIELD) else None
            if first is not None:
                raise DataError(
                    f"it names no file. Name one or drop the row; where rows may lack one, write"
                    f" product.inputs.{name}.optional=true.",
                    row=first,
                    column=column,
                )
    present = [present_rows(table, one) for one in inputs.values()]
    known = [one for one in present if one is not None]
    if len(known) == len(present) and len(lacking := np.flatnonzero(~np.logical_or.reduce(known))):
        raise DataError(without_inputs(inputs), row=int(lacking[0]))


def without_inputs(inputs: Iterable[str]) -> str:
    """What is wrong with a row that has none of them."""
    return f"it has no value for any input ({', '.join(inputs)}). Give it one, or drop the row."


def is_marked(table: pa.Table, column: str, mark: dict[bytes, bytes]) -> bool:
    """Whether the source gave the column this field metadata."""
    metadata = table.schema.field(column).metadata or {}
    return all(metadata.get(key) == value for key, value in mark.items())


def values(
    table: pa.Table,
    column: Any,
    rows: Rows | None = None,
    *,
    words: bool = False,
    nulls: bool = False,
    present: Flags | None = None,
) -> list[Any]:
    """Raw values of an input, one a row.

    Args:
        table: the rows.
        column: its column, or several of any types, whose values come as one tuple a row.
        rows: positions to take; None takes all.
        words: split plain strings at white space, for tasks that answer word by word.
        nulls: give missing values as None, to encoders that take them.
        present: which rows of the table have the input; what the others hold is given as it is.

    Raises:
        DataError: a value is missing (null), unless ``nulls``.
    """
    names = as_columns(column)
    taken = table.select(names) if rows is None else table.select(names).take(pa.array(rows))
    if not nulls and present is None:
        require_values(taken, names, rows)
    elif not nulls and present is not None:
        require_values(table.select(names).filter(present), names, np.flatnonzero(present))
    columns: list[list[Any]] = [taken[name].to_pylist() for name in names]
    if len(columns) > 1:
        return list(zip(*columns, strict=True))
    if words:
        return [value.split() if isinstance(value, str) else value for value in columns[0]]
    return columns[0]
