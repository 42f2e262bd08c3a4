"""Which split a unit of rows goes to."""

import hashlib
import math
from collections import Counter
from collections.abc import Iterable, Sequence

from matrixhub.data.units import Unit
from matrixhub.errors import ConfigError

TRAIN, VALIDATION, TEST = range(3)
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


def place(units: Iterable[Unit], fractions: Fractions, seed: int) -> list[int]:
    """A split for each unit, by a hash of its key: independent of all other units.

    The fractions hold on average: of few rows, a split may get none.
    """
    train, _, test = fractions
    positions = [_position(unit, seed) for unit in units]
    return [TRAIN if at < train else VALIDATION if at < 1 - test else TEST for at in positions]


def place_by_class(
    units: Sequence[Unit], labels: Sequence[bytes], fractions: Fractions, seed: int
) -> list[int]:
    """A split for each unit, with the same share of every class in each.

    Within a class, units are ranked by a hash of their key and dealt out in that order; what rounding
    takes from one class goes to the next, so that the whole is exact too. The order of rows does not
    matter; rows that are added change shares, and may move the rows at a boundary. The first unit of a
    class, and so the only one of a small class, goes to train.

    Args:
        units: what to place.
        labels: digest of each row's class; a unit belongs to the class of most of its rows.
    """
    classes: dict[bytes, list[int]] = {}
    for index, unit in enumerate(units):
        counts = Counter(labels[row] for row in unit.rows)
        classes.setdefault(min(counts, key=lambda label: (-counts[label], label)), []).append(index)
    placed = [TRAIN] * len(units)
    seen, given = 0, {TEST: 0, VALIDATION: 0}
    for _, members in sorted(classes.items()):
        seen += sum(len(units[index].rows) for index in members)
        wanted = {part: math.floor(seen * fractions[part] + 0.5) for part in given}
        for index in sorted(members, key=lambda index: _position(units[index], seed))[1:]:
            size = len(units[index].rows)
            # At least half of it must be wanted: a large unit does not overfill a small split.
            part = next((part for part, rows in given.items() if rows + size / 2 < wanted[part]), TRAIN)
            placed[index] = part
            if part in given:
                given[part] += size
    return placed


def _position(unit: Unit, seed: int) -> float:
    """Uniform in [0, 1)."""
    digest = hashlib.sha256(f"{seed}:".encode() + unit.key).digest()
    return (int.from_bytes(digest[:8], "big") >> 11) / 2**53
