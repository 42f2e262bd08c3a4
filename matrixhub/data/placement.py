"""Which split a unit of rows goes to."""

import hashlib
import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from matrixhub.data.units import Digests, Numbers, Units, as_bytes, numbered
from matrixhub.errors import ConfigError

TRAIN, VALIDATION, TEST = range(3)
Parts = NDArray[np.int8]
Fractions = tuple[float, float, float]
"""Of training, validation and test rows."""


def check_fractions(fractions: Sequence[float]) -> Fractions:
    """Three numbers that add up to 1, the first above 0.

    Raises:
        ConfigError: they don't.
    """
    whole = math.isclose(sum(fractions), 1, abs_tol=1e-6)
    if len(fractions) != 3 or min(fractions) < 0 or fractions[0] <= 0 or not whole:
        raise ConfigError(
            f"fractions is {list(fractions)}: it needs three numbers, for train, validation and test, that"
            f" add up to 1, such as [0.8,0.1,0.1]; the first must be above 0."
        )
    train, validation, test = fractions
    return float(train), float(validation), float(test)


def place(keys: Digests, fractions: Fractions, seed: int) -> Parts:
    """A split for each unit, int8 (U,), by a hash of its key: independent of all other units.

    The fractions hold on average: of few rows, a split may get none.
    """
    train, _, test = fractions
    at = _positions(keys, seed)
    return np.select([at < train, at < 1 - test], [TRAIN, VALIDATION], TEST).astype(np.int8)


def place_by_class(
    keys: Digests, fractions: Fractions, seed: int, *, sizes: Numbers, classes: Numbers
) -> Parts:
    """A split for each unit, int8 (U,), with the same share of every class in each.

    Within a class, units are ranked by a hash of their key and dealt out in that order; what rounding
    takes from one class goes to the next, so that the whole is exact too. The order of rows does not
    matter; rows that are added change shares, and may move the rows at a boundary. The first unit of a
    class, and so the only one of a small class, goes to train.

    Args:
        keys: of the units, uint8 (U, 32).
        fractions: of rows.
        seed: another one gives another split.
        sizes: rows of each unit.
        classes: of each, numbered in an order that does not depend on that of the rows.
    """
    placed = np.full(len(keys), TRAIN, dtype=np.int8)
    at = _positions(keys, seed)
    seen, given = 0, {TEST: 0, VALIDATION: 0}
    for one in np.unique(classes):
        members = np.flatnonzero(classes == one)
        seen += int(sizes[members].sum())
        wanted = {part: math.floor(seen * fractions[part] + 0.5) for part in given}
        for unit in members[np.argsort(at[members], kind="stable")][1:]:
            size = int(sizes[unit])
            # At least half of it must be wanted: a large unit does not overfill a small split.
            part = next((part for part, rows in given.items() if rows + size / 2 < wanted[part]), TRAIN)
            placed[unit] = part
            if part in given:
                given[part] += size
    return placed


def majority(units: Units, labels: Digests) -> Numbers:
    """The class of most rows of each unit, int64 (U,), numbered by the order of their digests.

    Args:
        units: of rows.
        labels: digest of each row's class, uint8 (N, 32).
    """
    numbers, different = numbered(labels)
    ranks = np.argsort(np.argsort(as_bytes(different)))
    pairs, counts = np.unique(units.of_row * len(different) + ranks[numbers], return_counts=True)
    unit, rank = np.divmod(pairs, len(different))
    order = np.lexsort((rank, -counts, unit))
    _, firsts = np.unique(unit[order], return_index=True)
    found: Numbers = rank[order][firsts]
    return found


def _positions(keys: Digests, seed: int) -> NDArray[np.float64]:
    """Uniform in [0, 1), one a key."""
    salt = f"{seed}:".encode()
    hashes = (hashlib.sha256(salt + key.tobytes()).digest()[:8] for key in keys)
    numbers = np.fromiter((int.from_bytes(one, "big") >> 11 for one in hashes), np.uint64, count=len(keys))
    return numbers / 2**53
