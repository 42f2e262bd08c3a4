"""Rows that must not be parted: those with the same content, and those of one group."""

from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

Digests = NDArray[np.uint8]
Numbers = NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Units:
    """N rows in U units; the rows of a unit stay on one side.

    Attributes:
        keys: uint8 (U, 32), which decide a unit's place: its content or group digest, the smallest where it
            has several.
        of_row: int64 (N,), the unit of each row.
        num_joined: units that several groups make up, for they share a content.
    """

    keys: Digests
    of_row: Numbers
    num_joined: int = 0

    @property
    def sizes(self) -> Numbers:
        """How many rows each unit has, int64 (U,)."""
        return np.bincount(self.of_row, minlength=len(self.keys))


def units_of(contents: Digests, groups: Digests | None) -> Units:
    """Units of rows.

    Args:
        contents: digest of each row's content, uint8 (N, 32).
        groups: digest of each row's group, uint8 (N, 32), None where rows are not grouped. Groups that share
            a content are one unit.
    """
    contents_N, different = numbered(contents)
    if groups is None:
        return Units(different, contents_N)
    groups_N, different_groups = numbered(groups)
    num_groups = len(different_groups)
    # Groups and contents are points, every row is a line between two of them.
    lines = (np.ones(len(groups)), (groups_N, contents_N + num_groups))
    num_points = num_groups + len(different)
    num_units, units_G = connected_components(
        coo_array(lines, shape=(num_points, num_points)), directed=False
    )
    units_G = units_G[:num_groups].astype(np.int64)
    # Largest first, so that the smallest of a unit is what stays.
    descending = np.argsort(as_bytes(different_groups))[::-1]
    keys = np.empty((num_units, 32), dtype=np.uint8)
    keys[units_G[descending]] = different_groups[descending]
    joined = np.bincount(units_G, minlength=num_units) > 1
    return Units(keys, units_G[groups_N], int(joined.sum()))


def numbered(digests: Digests) -> tuple[Numbers, Digests]:
    """A number for each digest of (N, 32), equal for equal ones; the different ones (U, 32) by number."""
    flat = pa.py_buffer(np.ascontiguousarray(digests))
    whole = pa.FixedSizeBinaryArray.from_buffers(
        pa.binary(32), len(digests), [None, flat]
    ).dictionary_encode()
    numbers = np.asarray(whole.indices).astype(np.int64)
    # Numbered by first appearance: of each, the row where it first appears.
    _, firsts = np.unique(numbers, return_index=True)
    return numbers, digests[firsts]


def as_bytes(digests: Digests) -> NDArray[np.bytes_]:
    """Digests (N, 32) as byte strings (N,), which have an order."""
    return np.ascontiguousarray(digests).view("S32")[:, 0]
