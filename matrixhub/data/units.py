"""Rows that must not be parted: those with the same content, and those of one group."""

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(slots=True)
class Unit:
    """Rows that stay on one side.

    Attributes:
        key: its content digest or group digest (the smallest, where it has several): decides its place.
        rows: positions, ascending.
    """

    key: bytes
    rows: list[int]


def units_of(contents: Sequence[bytes], groups: Sequence[bytes] | None) -> list[Unit]:
    """Units in the order of their first row.

    Args:
        contents: digest of each row's content.
        groups: digest of each row's group, None where rows are not grouped. Groups that share a
            content are one unit.
    """
    if groups is None:
        return _alike(contents)
    roots = _Forest(len(groups))
    for digests in (contents, groups):
        first: dict[bytes, int] = {}
        for row, digest in enumerate(digests):
            roots.join(first.setdefault(digest, row), row)
    units: dict[int, Unit] = {}
    for row, key in enumerate(groups):
        unit = units.setdefault(roots.root(row), Unit(key, []))
        unit.rows.append(row)
        unit.key = min(unit.key, key)
    return list(units.values())


def _alike(contents: Sequence[bytes]) -> list[Unit]:
    units: dict[bytes, Unit] = {}
    for row, digest in enumerate(contents):
        units.setdefault(digest, Unit(digest, [])).rows.append(row)
    return list(units.values())


class _Forest:
    """Disjoint sets of rows; the root of a set is its first row."""

    def __init__(self, size: int) -> None:
        self.parents = list(range(size))

    def root(self, row: int) -> int:
        while self.parents[row] != row:
            self.parents[row] = row = self.parents[self.parents[row]]
        return row

    def join(self, one: int, other: int) -> None:
        low, high = sorted((self.root(one), self.root(other)))
        self.parents[high] = low
