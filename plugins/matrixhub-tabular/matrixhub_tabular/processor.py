"""Rows of a table to tensors. Shape legend: B rows, C columns there is room for."""

import datetime
import re
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from numbers import Real
from typing import Any, TypeAlias

import numpy as np
import torch
from torch import Tensor

from matrixhub import Batch, ConfigError, DataError

NOTHING, MISSING_VALUE, NUMBER, FIRST_BUCKET = 0, 1, 2, 3
"""What is in a column: no such column, no value, an amount; from ``FIRST_BUCKET`` on a category."""

LARGEST = 1e15
"""Amounts are held within it, so that squares of many of them can be summed in float32."""

_AMOUNT = re.compile(r"\s*[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?\s*", re.ASCII)
_DAY_0 = datetime.datetime(1970, 1, 1, tzinfo=datetime.UTC)
_DAY = datetime.timedelta(days=1)

Item: TypeAlias = tuple[Tensor, Tensor]
"""Amounts (C,) float32, 0 where there is none; what is there (C,) int64."""


@dataclass(frozen=True, slots=True)
class ColumnsProcessor:
    """Tuples of values, one for each column, to numbers and buckets; each row by itself.

    A text that is written like a number is one, for a csv knows no other; an empty text is a missing
    value, and so are None and NaN. Dates are days since 1970.

    Attributes:
        columns: C.
        buckets: of categories.
        categories: columns, counted from 1, whose numbers are categories.
    """

    columns: int
    buckets: int
    categories: frozenset[int] = frozenset()
    takes_nulls: bool = True

    def __post_init__(self) -> None:
        for name in ("columns", "buckets"):
            if getattr(self, name) < 1:
                raise ConfigError(f"encoder.tabular.{name}={getattr(self, name)}: it must be at least 1.")
        if wrong := sorted(c for c in self.categories if not 1 <= c <= self.columns):
            raise ConfigError(
                f"encoder.tabular.categories={wrong}: columns are counted from 1 to {self.columns}."
            )

    def prepare(self, values: Sequence[Any]) -> list[Item]:
        """One pair of tensors a row.

        Raises:
            DataError: more columns than there is room for; a value that is no number, text or date.
        """
        return [self._item(value, row) for row, value in enumerate(values)]

    def size(self, item: Item) -> int:
        """Every row costs the same."""
        return 1

    def collate(self, items: Sequence[Item]) -> Batch:
        """``numbers_BC`` float32 and ``kinds_BC`` int64."""
        numbers, kinds = zip(*items, strict=True)
        return {"numbers_BC": torch.stack(numbers), "kinds_BC": torch.stack(kinds)}

    def _item(self, value: Any, row: int) -> Item:
        cells = value if isinstance(value, tuple | list) else (value,)
        if len(cells) > self.columns:
            raise DataError(
                f"the input has {len(cells)} columns, and the encoder has room for {self.columns}:"
                f" add encoder.tabular.columns={len(cells)}",
                row=row,
            )
        numbers_C = np.zeros(self.columns, dtype=np.float32)
        kinds_C = np.zeros(self.columns, dtype=np.int64)
        for i, cell in enumerate(cells):
            numbers_C[i], kinds_C[i] = self._read(cell, i + 1, row)
        return torch.from_numpy(numbers_C), torch.from_numpy(kinds_C)

    def _read(self, cell: Any, column: int, row: int) -> tuple[float, int]:
        """The amount, and what is there."""
        if isinstance(cell, np.generic):
            cell = cell.item()
        if cell is None or cell != cell or (isinstance(cell, str) and not cell.strip()):  # noqa: PLR0124 - NaN
            return 0.0, MISSING_VALUE
        number = _as_number(cell)
        if number is None and not isinstance(cell, str):
            kind = type(cell).__name__
            raise DataError(f"column {column} of the input holds a {kind}, no number, text or date", row=row)
        if number is None or column in self.categories:
            return 0.0, FIRST_BUCKET + self._bucket(cell if number is None else f"{number:.17g}", column)
        return number, NUMBER

    def _bucket(self, text: str, column: int) -> int:
        # The same word in two columns says two things. 'surrogatepass' keeps lone surrogates from raising.
        key = f"{column} {text.strip()}".encode("utf-8", "surrogatepass")
        return zlib.crc32(key) % self.buckets


def _as_number(cell: Any) -> float | None:
    match cell:
        case str():
            number = float(cell) if _AMOUNT.fullmatch(cell) else None
        case datetime.datetime():
            aware = cell if cell.tzinfo else cell.replace(tzinfo=datetime.UTC)
            number = (aware - _DAY_0) / _DAY
        case datetime.date():
            number = float((cell - _DAY_0.date()).days)
        case datetime.timedelta():
            number = cell / _DAY
        case Real() | Decimal():
            number = float(max(min(cell, LARGEST), -LARGEST))
        case _:
            number = None
    return None if number is None else max(min(number, LARGEST), -LARGEST)
