"""Transforms that add a column, drop rows by what they say, and drop rows by what others say."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pyarrow as pa


class Join:
    """Texts of several columns, one after the other, in a column of their own."""

    def __init__(self, *, columns: Sequence[str], into: str) -> None:
        self.columns = list(columns)
        self.into = into

    def __call__(self, table: "pa.Table") -> "pa.Table":
        """With one more column."""
        import pyarrow as pa

        rows = zip(*(table[name].to_pylist() for name in self.columns), strict=True)
        joined = pa.array([" ".join(row) for row in rows], pa.string())
        return table.append_column(self.into, joined)


class Longer:
    """Rows of at least so many words."""

    def __init__(self, *, column: str, least: int) -> None:
        self.column = column
        self.least = least

    def __call__(self, table: "pa.Table") -> "pa.Table":
        """With fewer rows."""
        import pyarrow as pa

        return table.filter(pa.array([len(t.split()) >= self.least for t in table[self.column].to_pylist()]))


class Distinct:
    """The first row of each text."""

    training_only = True

    def __init__(self, *, column: str) -> None:
        self.column = column

    def __call__(self, table: "pa.Table") -> "pa.Table":
        """With fewer rows."""
        texts = table[self.column].to_pylist()
        return table.take(sorted({text: row for row, text in reversed([*enumerate(texts)])}.values()))
