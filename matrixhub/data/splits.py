"""Training, validation and test rows: stable, and never the same content on two sides.

Rows that must stay together make a unit (see ``units``). A unit's place depends on the seed and on its
content or group alone, so a row stays where it was when rows are reordered or added, and in every process.
"""

import math
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from matrixhub.data.columns import require_columns
from matrixhub.data.digests import row_digests
from matrixhub.data.placement import (
    TEST,
    TRAIN,
    VALIDATION,
    Fractions,
    check_fractions,
    place,
    place_by_class,
)
from matrixhub.data.split_names import SPLITS, require_split_name
from matrixhub.data.units import Unit, units_of
from matrixhub.errors import ConfigError, DataError
from matrixhub.types import SPLIT_COLUMN

Rows: TypeAlias = NDArray[np.int64]
_LEFT_OUT = -1


@dataclass(frozen=True, eq=False)
class Splits:
    """Positions of the rows of each split, int64, ascending.

    Attributes:
        train, validation, test: no row is in two; a row that repeats one of a later given split is in none.
        duplicates: how many rows share their content with another row.
        notes: sentences for the user.
    """

    train: Rows
    validation: Rows
    test: Rows
    duplicates: int = 0
    notes: tuple[str, ...] = ()


def make_splits(
    table: pa.Table,
    *,
    inputs: Sequence[str],
    target: str | None = None,
    column: str | None = None,
    group: str | None = None,
    stratify: bool = False,
    fractions: Sequence[float] = (0.8, 0.1, 0.1),
    seed: int = 0,
) -> Splits:
    """Split rows by a hash of their content or group, or keep the splits they came with.

    Given splits are kept. Of rows with the same content (or group) on two sides only those of the later
    split stay, test before validation before train. A split that is not given is cut from train.

    Args:
        table: the rows.
        inputs: columns whose content tells rows apart; two rows equal in all of them are duplicates.
        target: column of the classes, for ``stratify``.
        column: column that names each row's split; None takes ``SPLIT_COLUMN`` if the table has it.
        group: column whose equal values stay on one side, such as a patient or an author; a row without
            a value is a group of its own.
        stratify: give every split the same share of each class, exactly; rows that are added may then
            move the rows at a boundary. Otherwise shares hold on average, and no row ever moves.
        fractions: of rows for train, validation and test; a split of 0 stays empty.
        seed: another one gives another split.

    Raises:
        DataError: a missing column, an unknown split name, too few rows.
        ConfigError: fractions that don't add up, ``stratify`` without classes.
    """
    shares = check_fractions(fractions)
    labels = _labels(table, target) if stratify else None
    parts, are_given = _given(table, column)
    contents = row_digests(table, inputs)
    groups = None if group is None else _groups(table, group, contents)
    units = units_of(contents, groups)
    notes = [*_about_groups(units, groups), *_keep_later(parts, units)]

    missing = [part for part in (VALIDATION, TEST) if part not in parts]
    shares = _shares_of_train(shares, missing)
    movable = [unit for unit in units if _latest(parts, unit) == TRAIN]
    placed = place(movable, shares, seed) if labels is None else place_by_class(movable, labels, shares, seed)
    for unit, part in zip(movable, placed, strict=True):
        for row in unit.rows:
            parts[row] = part

    alike = units if groups is None else units_of(contents, None)
    repeated = sum(len(unit.rows) for unit in alike if len(unit.rows) > 1)
    if repeated:
        notes.append(f"{repeated} rows share their content with another row; each such set is on one side.")
    if are_given:
        notes += [f"{SPLITS[p].capitalize()} was cut from train: {parts.count(p)} rows." for p in missing]
    train, validation, test = (np.flatnonzero(np.asarray(parts) == part) for part in range(3))
    _require_rows((train, validation, test), shares, num_units=len(movable), stratify=stratify)
    return Splits(train, validation, test, repeated, tuple(notes))


def _given(table: pa.Table, column: str | None) -> tuple[list[int], bool]:
    """Each row's split as a number (train where none is given), and whether any is given."""
    if column is None and SPLIT_COLUMN not in table.column_names:
        return [TRAIN] * table.num_rows, False
    if column is not None:
        require_columns(table, [column], role="the column of split names")
    name = column or SPLIT_COLUMN
    known: dict[object, int] = {}
    parts = []
    for row, text in enumerate(table.column(name).to_pylist()):
        if text not in known:
            known[text] = SPLITS.index(require_split_name(text, row=row, column=name))
        parts.append(known[text])
    if TRAIN not in known.values():
        raise DataError("no row is in train: some must be, to learn from.", column=name)
    return parts, True


def _labels(table: pa.Table, target: str | None) -> list[bytes]:
    if target is None:
        raise ConfigError(
            "stratify=true needs a target column of classes: name one, or write stratify=false."
        )
    require_columns(table, [target], role="the target")
    return row_digests(table, [target], exact=True)


def _groups(table: pa.Table, group: str, contents: Sequence[bytes]) -> list[bytes]:
    """A digest of each row's group; its content where it has no group."""
    require_columns(table, [group], role="the group")
    digests = row_digests(table, [group], exact=True)
    values = table.column(group).to_pylist()
    return [c if v is None or v == "" else g for c, g, v in zip(contents, digests, values, strict=True)]


def _keep_later(parts: list[int], units: Sequence[Unit]) -> Iterator[str]:
    """Leave out, in place, what a later given split has too; say how much."""
    left_out: Counter[int] = Counter()
    for unit in units:
        latest = _latest(parts, unit)
        for row in unit.rows:
            if parts[row] < latest:
                left_out[parts[row]] += 1
                parts[row] = _LEFT_OUT
    if left_out:
        counted = " and ".join(f"{left_out[part]} rows of {SPLITS[part]}" for part in sorted(left_out))
        yield f"{counted} repeat a row (or group) of a later split and were left out."


def _latest(parts: Sequence[int], unit: Unit) -> int:
    return max(parts[row] for row in unit.rows)


def _about_groups(units: Sequence[Unit], groups: Sequence[bytes] | None) -> Iterator[str]:
    if groups is None:
        return
    joined = sum(len({groups[row] for row in unit.rows}) > 1 for unit in units)
    if joined:
        yield f"Some groups hold the same content as others; they were kept together, in {joined} sets."


def _shares_of_train(shares: Fractions, missing: Sequence[int]) -> Fractions:
    """What of the rows in train stays there, and what goes to the splits that are missing."""
    kept = [share if part in (TRAIN, *missing) else 0.0 for part, share in enumerate(shares)]
    train, validation, test = (share / sum(kept) for share in kept)
    return train, validation, test


def _require_rows(parts: Sequence[Rows], shares: Fractions, *, num_units: int, stratify: bool) -> None:
    for name, rows, share in zip(SPLITS, parts, shares, strict=True):
        if len(rows) or not share:
            continue
        # At 3 / share rows the chance of an empty split is about 5 percent, and ranks need half of that.
        needed = math.ceil((0.5 if stratify else 3) / share)
        exact = "" if stratify else ", stratify=true, which deals them out exactly"
        raise DataError(
            f"No row is left for {name}: there are {num_units} different rows or groups to choose from, about"
            f" {max(3, needed)} are needed. Add rows, or choose other fractions{exact}, or another seed."
        )
