"""A target column as the source gave it: what kind of values it holds, and each value as a name or number.

What a label may be is decided here, once. Text, integers and booleans are labels; so are floats that are
all whole numbers (a table library turns integers with a gap into floats). A column read from a format
without types (csv) holds text that may stand for any of these: it is ``untyped`` and matches by its text.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from matrixhub.errors import DataError

MISSING_LABEL = "the target is missing. Give it a value or drop the row."


@dataclass(frozen=True, slots=True)
class TargetColumn:
    """One target column, aligned with the rows it came from.

    Attributes:
        values: one value a row.
        name: of the column, for messages.
        rows: positions of the values in the source table, for messages; as long as ``values``.
        untyped: True when it was read from a format without types.
        separator: between the labels of a row, where several are written in one text.
    """

    values: "pa.ChunkedArray"
    name: str
    rows: Sequence[int]
    untyped: bool
    separator: str = "|"

    def __post_init__(self) -> None:
        if len(self.values) != len(self.rows):
            raise ValueError(f"{len(self.values)} values of column '{self.name}' but {len(self.rows)} rows")

    @property
    def kind(self) -> str:
        """``text``, ``integer``, ``boolean`` or ``untyped``: what its values (or their elements) are.

        Raises:
            DataError: the column holds something else.
        """
        dtype = self.values.type
        while pa.types.is_dictionary(dtype) or _is_list(dtype):
            dtype = dtype.value_type
        if _is_text(dtype) or pa.types.is_null(dtype):
            return "untyped" if self.untyped else "text"
        if pa.types.is_boolean(dtype):
            return "boolean"
        if pa.types.is_integer(dtype) or pa.types.is_floating(dtype):
            return "integer"
        raise self.error(0, f"the column is of type {self.values.type}; {_ALLOWED}")

    def error(self, index: int, message: str) -> DataError:
        """A ``DataError`` about the value at ``index``, naming its row."""
        row = int(self.rows[index]) if len(self.rows) else None
        return DataError(message, row=row, column=self.name)

    def names(self) -> list[str]:
        """One label name a row.

        Raises:
            DataError: a value is missing or is no label.
        """
        self._refuse_lists()
        return [self._name(value, index) for index, value in enumerate(self._cells())]

    def name_lists(self, separator: str | None) -> list[list[str]]:
        """Several label names a row: a list, or a text cut at ``separator`` (None: white space).

        An empty list, and an empty text in an untyped column, is a row without labels.

        Raises:
            DataError: a value is missing or is neither.
        """
        _ = self.kind
        return [self._name_list(value, index, separator) for index, value in enumerate(self._cells())]

    def numbers(self) -> NDArray[np.float32]:
        """One finite number a row.

        Raises:
            DataError: a value is missing, not a number, NaN, infinite or too large for float32.
        """
        self._refuse_lists()
        return np.array([self._number(value, i) for i, value in enumerate(self._cells())], dtype=np.float32)

    def _cells(self) -> list[Any]:
        cells: list[Any] = self.values.to_pylist()
        return cells

    def _refuse_lists(self) -> None:
        if _is_list(self.values.type):
            raise self.error(0, "the target is a list; task=multilabel and token_classification take lists")

    def _name(self, value: Any, index: int) -> str:
        match value:
            case bool():
                return "true" if value else "false"
            case int():
                return str(value)
            case float() if not math.isnan(value):
                if value.is_integer():
                    return str(int(value))
                raise self.error(
                    index, f"{value!r} is not a label; {_ALLOWED} For numbers, use task=regression."
                )
            case str() if value.strip():
                return value
            case None | float() | str():
                raise self.error(index, MISSING_LABEL)
            case _:
                raise self.error(index, f"{shorten(value)} is not a label; {_ALLOWED}")

    def _name_list(self, value: Any, index: int, separator: str | None) -> list[str]:
        if value is None and self.untyped:
            return []
        if isinstance(value, str):
            if not value.strip() and not self.untyped:
                raise self.error(index, MISSING_LABEL)
            value = [part.strip() for part in value.split(separator) if part.strip()]
        if value is None:
            raise self.error(index, MISSING_LABEL)
        if not isinstance(value, list):
            raise self.error(index, f"{shorten(value)} is not a list of labels; write [{value}], or a text")
        return [self._name(element, index) for element in value]

    def _number(self, value: Any, index: int) -> float:
        if value is None or (self.untyped and isinstance(value, str) and not value.strip()):
            raise self.error(index, MISSING_LABEL)
        if isinstance(value, str) and not self.untyped:
            raise self.error(
                index, f"{shorten(value)} is text; a regression target is a number, without quotes"
            )
        if isinstance(value, bool) or not isinstance(value, int | float | Decimal | str):
            raise self.error(index, f"{shorten(value)} is not a number")
        try:
            # float() would also read "1_000", which no other tool does.
            number = math.nan if "_" in str(value) else float(value)
        except (ValueError, OverflowError):
            raise self.error(index, f"{shorten(value)} is not a number, such as 3 or -0.5 or 1e6") from None
        if not abs(number) <= _LARGEST:
            raise self.error(
                index, f"{shorten(value)} is not a finite 32-bit number, such as 3 or -0.5 or 1e6"
            )
        return number


def shorten(value: Any) -> str:
    """A value for a message: quoted when text, cut when long."""
    text = str(value)
    text = text if len(text) <= _LONGEST else f"{text[:_LONGEST]}…"
    return repr(text) if isinstance(value, str) else text


_ALLOWED = "labels are text, integers or booleans."
_LONGEST = 60  # characters of a value shown in a message
_LARGEST = float(np.finfo(np.float32).max)


def _is_text(dtype: "pa.DataType") -> bool:
    types = pa.types
    return bool(types.is_string(dtype) or types.is_large_string(dtype) or types.is_string_view(dtype))


def _is_list(dtype: "pa.DataType") -> bool:
    types = pa.types
    return bool(types.is_list(dtype) or types.is_large_list(dtype) or types.is_fixed_size_list(dtype))
