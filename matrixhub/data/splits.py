"""Training, validation and test rows: stable, and never the same content on two sides.

Rows that must stay together make a unit (see ``units``). A unit's place depends on the seed and on its
content or group alone, so a row stays where it was when rows are reordered or added, and in every process.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from matrixhub.data.columns import require_columns
from matrixhub.data.digests import digest_table
from matrixhub.data.placement import (
    TEST,
    TRAIN,
    VALIDATION,
    Fractions,
    Parts,
    check_fractions,
    majority,
    place,
    place_by_class,
)
from matrixhub.data.split_names import SPLITS, require_split_name
from matrixhub.data.units import Digests, Units, units_of
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
    needed: Sequence[str] = SPLITS,
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
        needed: splits that must have rows.

    Raises:
        DataError: a missing column, an unknown split name, too few rows.
        ConfigError: fractions that don't add up, ``stratify`` without classes.
    """
    shares = check_fractions(fractions)
    labels = _labels(table, target) if stratify else None
    parts, are_given = _given(table, column)
    contents = digest_table(table, inputs)
    units = units_of(contents, None if group is None else _groups(table, group, contents))
    notes = [*_about_groups(units), *_keep_later(parts, units)]

    missing = [part for part in (VALIDATION, TEST) if not (parts == part).any()]
    shares = _shares_of_train(shares, missing)
    movable = np.flatnonzero(_latest(parts, units) == TRAIN)
    _move(parts, units, movable, shares=shares, seed=seed, labels=labels)
    alike = (units if group is None else units_of(contents, None)).sizes
    repeated = int(alike[alike > 1].sum())
    if repeated:
        notes.append(f"{repeated} rows share their content with another row; each such set is on one side.")
    if are_given:
        counts = {part: int((parts == part).sum()) for part in missing}
        notes += [f"{SPLITS[p].capitalize()} was cut from train: {n} rows." for p, n in counts.items()]
    train, validation, test = (np.flatnonzero(parts == part) for part in range(3))
    of_class = None if labels is None else len(np.unique(majority(units, labels)[movable]))
    for part in (part for part, name in enumerate(SPLITS) if name in needed and shares[part]):
        if not (parts == part).any():
            raise DataError(_no_row(part, shares[part], num_units=len(movable), num_classes=of_class))
    return Splits(train, validation, test, repeated, tuple(notes))


def _given(table: pa.Table, column: str | None) -> tuple[Parts, bool]:
    """Each row's split as a number (train where none is given), and whether any is given."""
    if column is None and SPLIT_COLUMN not in table.column_names:
        return np.full(table.num_rows, TRAIN, dtype=np.int8), False
    if column is not None:
        require_columns(table, [column], role="the column of split names")
    name = column or SPLIT_COLUMN
    known: dict[object, int] = {}
    parts = np.empty(table.num_rows, dtype=np.int8)
    for row, text in enumerate(table.column(name).to_pylist()):
        if text not in known:
            known[text] = SPLITS.index(require_split_name(text, row=row, column=name))
        parts[row] = known[text]
    if TRAIN not in known.values():
        raise DataError("no row is in train: some must be, to learn from.", column=name)
    return parts, True


def _labels(table: pa.Table, target: str | None) -> Digests:
    if target is None:
        raise ConfigError(
            "stratify=true needs a target column of classes: name one, or write stratify=false."
        )
    require_columns(table, [target], role="the target")
    return digest_table(table, [target], exact=True)


def _groups(table: pa.Table, group: str, contents: Digests) -> Digests:
    """A digest of each row's group; its content where it has no group."""
    require_columns(table, [group], role="the group")
    has_none = np.fromiter((v is None or v == "" for v in table.column(group).to_pylist()), dtype=bool)
    return np.where(has_none[:, None], contents, digest_table(table, [group], exact=True))


def _keep_later(parts: Parts, units: Units) -> Iterator[str]:
    """Leave out, in place, what a later given split has too; say how much."""
    earlier = parts < _latest(parts, units)[units.of_row]
    if earlier.any():
        counts = np.bincount(parts[earlier])
        counted = " and ".join(f"{counts[p]} rows of {SPLITS[p]}" for p in np.flatnonzero(counts))
        parts[earlier] = _LEFT_OUT
        yield f"{counted} repeat a row (or group) of a later split and were left out."


def _move(
    parts: Parts, units: Units, movable: Rows, *, shares: Fractions, seed: int, labels: Digests | None
) -> None:
    """Give each movable unit its split, in place."""
    keys = units.keys[movable]
    if labels is None:
        placed = place(keys, shares, seed)
    else:
        sizes, classes = units.sizes[movable], majority(units, labels)[movable]
        placed = place_by_class(keys, shares, seed, sizes=sizes, classes=classes)
    place_of = np.full(len(units.keys), _LEFT_OUT, dtype=np.int8)
    place_of[movable] = placed
    moved = np.isin(units.of_row, movable)
    parts[moved] = place_of[units.of_row[moved]]


def _latest(parts: Parts, units: Units) -> Parts:
    """The latest split that a row of each unit is in, int8 (U,)."""
    latest = np.full(len(units.keys), _LEFT_OUT, dtype=np.int8)
    np.maximum.at(latest, units.of_row, parts)
    return latest


def _about_groups(units: Units) -> Iterator[str]:
    if units.num_joined:
        yield (
            "Some groups hold the same content as others; they were kept together, in "
            f"{units.num_joined} sets."
        )


def _shares_of_train(shares: Fractions, missing: Sequence[int]) -> Fractions:
    """What of the rows in train stays there, and what goes to the splits that are missing."""
    kept = [share if part in (TRAIN, *missing) else 0.0 for part, share in enumerate(shares)]
    train, validation, test = (share / sum(kept) for share in kept)
    return train, validation, test


def _no_row(part: int, share: float, *, num_units: int, num_classes: int | None) -> str:
    """Why a split is empty, and what to type.

    Args:
        part: the split.
        share: of all rows that it was to have.
        num_units: rows or groups that there were to deal out.
        num_classes: of them, where shares are exact.
    """
    empty = f"No row is left for {SPLITS[part]}: "
    if not num_units:
        return (
            f"{empty}every row that was given to train repeats a row (or group) of a later split. Add rows of"
            " its own to it, or give rows no split, to have them dealt out."
        )
    without = ", or without validation rows as [0.8,0,0.2]" if part == VALIDATION else ""
    other = f"or choose other shares, such as product.split.fractions=[0.6,0.2,0.2]{without}"
    if num_classes is not None:
        return (
            f"{empty}there are {num_units} different rows or groups, and product.split.stratify=true keeps"
            f" one of each of their {num_classes} classes in train. Add rows, {other}; or, where most classes"
            " have one row only, write product.split.stratify=false."
        )
    # At 3 / share rows the chance of an empty split is about 5 percent.
    return (
        f"{empty}there are {num_units} different rows or groups, dealt out by chance, which takes about"
        f" {math.ceil(3 / share)}. Add rows, {other}; or another product.split.seed; or, of classes,"
        " product.split.stratify=true, whose shares are exact."
    )
