"""Targets: fitted on the training rows, then encoded as numbers; whatever cannot be learned is refused here.

The order of classes is the declared one; otherwise whole numbers come in the order of their size and
texts by code point, with ``O`` (no entity) first among tags. An index never depends on the order of rows.
"""

import re
from collections.abc import Iterable, Sequence
from typing import Any, TypeAlias

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from matrixhub.data.labels import TargetColumn, shorten
from matrixhub.errors import ConfigError, DataError, unknown_name
from matrixhub.types import TASKS, Target

Encoded: TypeAlias = "NDArray[np.int64] | NDArray[np.float32] | list[NDArray[np.int64]]"


UNSEEN = "It was not seen in training."


def fit_target(
    column: "pa.ChunkedArray",
    *,
    task: str,
    name: str,
    rows: Sequence[int],
    untyped: bool,
    classes: Sequence[Any] | None = None,
    separator: str = "|",
) -> Target:
    """What an output is to learn, from the training rows.

    Args:
        column: the target of the training rows.
        task: one of ``matrixhub.types.TASKS``.
        name: of the column.
        rows: positions of ``column``'s values in the source table; used to name a row.
        untyped: the column was read from a format without types.
        classes: declared labels, all text or all integers or all booleans; None takes those that occur.
        separator: between several labels in one text (multilabel).

    Raises:
        DataError: a target is missing, of the wrong type or not declared; there is no row; or all
            targets are equal, so that there is nothing to learn.
        ConfigError: unknown task; classes declared twice, mixed, too few, or for a regression.
    """
    target_column = TargetColumn(column, name, rows, untyped, separator)
    if task not in TASKS:
        raise ConfigError(unknown_name("task", task, TASKS))
    if not len(column):
        raise DataError("there are no training rows. Check the source and the split.", column=name)
    if task == "regression":
        return _fit_regression(target_column, classes)
    declared = None if classes is None else _declared(classes, task=task, name=name)
    cells = _cells(target_column, task, declared.typed if declared else target_column.kind)
    found = Target(task, _ordered({label for labels in cells for label in labels}, task), target_column.kind)
    target = declared or found
    _check_cells(cells, target_column, target, hint="It was not declared.")
    distinct = {frozenset(labels) for labels in cells} if task == "multilabel" else found.classes
    if len(distinct) < 2:
        raise DataError(_nothing_to_learn(task, cells), column=name)
    return target


def encode_target(
    column: "pa.ChunkedArray",
    target: Target,
    *,
    name: str,
    rows: Sequence[int],
    untyped: bool,
    separator: str = "|",
    unseen: str = UNSEEN,
) -> Encoded:
    """Targets as numbers, for the rows of any split. Parameters as for ``fit_target``.

    Args:
        unseen: what to say of a label that is none of the classes.

    Returns:
        int64 (N,) for classification; float32 (N, C) of 0 and 1 for multilabel; float32 (N,) for
        regression; for token_classification a list of N int64 arrays, one number a word.

    Raises:
        DataError: a target is missing, of the wrong type, or was not seen in training.
    """
    target_column = TargetColumn(column, name, rows, untyped, separator)
    if target.task == "regression":
        return target_column.numbers()
    cells = _cells(target_column, target.task, target.typed)
    _check_cells(cells, target_column, target, hint=unseen)
    index = {label: i for i, label in enumerate(target.classes)}
    if target.task == "classification":
        return np.array([index[label] for (label,) in cells], dtype=np.int64)
    if target.task == "token_classification":
        return [np.array([index[tag] for tag in tags], dtype=np.int64) for tags in cells]
    hot_NC = np.zeros((len(cells), len(index)), dtype=np.float32)
    for row, labels in zip(hot_NC, cells, strict=True):
        row[[index[label] for label in labels]] = 1.0
    return hot_NC


def check_lengths(
    words: "pa.ChunkedArray", tags: "pa.ChunkedArray", *, name: str, rows: Sequence[int]
) -> None:
    """Every row must have one tag a word; both columns hold lists, or texts cut at white space.

    Args:
        words, tags: the two columns, aligned.
        name: of the column of tags.
        rows: positions of the values in the source table; used to name a row.

    Raises:
        DataError: a row where the numbers differ.
    """
    for row, row_words, row_tags in zip(rows, words.to_pylist(), tags.to_pylist(), strict=True):
        num_words, num_tags = _num_parts(row_words), _num_parts(row_tags)
        if num_words != num_tags:
            raise DataError(
                f"{num_tags} tags for {num_words} words; write one tag for each word.",
                row=int(row),
                column=name,
            )


def _fit_regression(column: TargetColumn, classes: Sequence[Any] | None) -> Target:
    if classes is not None:
        raise ConfigError(f"Output of column '{column.name}': a regression has no classes. Remove them.")
    numbers = column.numbers()
    if np.ptp(numbers.astype(np.float64)) == 0:
        raise DataError(f"every training target is {numbers[0]:g}: nothing to learn.", column=column.name)
    mean, std = numbers.mean(dtype=np.float64), numbers.std(dtype=np.float64)
    return Target("regression", mean=float(mean), std=float(std) or 1.0)


def _cells(column: TargetColumn, task: str, typed: str) -> list[list[str]]:
    """Label names of each row: exactly one for classification."""
    if task == "classification":
        cells = [[label] for label in column.names()]
    else:
        cells = column.name_lists(column.separator if task == "multilabel" else None)
    if typed == "boolean" and column.kind == "untyped":  # Python writes True, Arrow writes true
        return [[label.lower() for label in labels] for labels in cells]
    return cells


def _declared(classes: Sequence[Any], *, task: str, name: str) -> Target:
    """Classes as the config declares them."""
    place = f"Classes of column '{name}'"
    kinds = {bool: "boolean", int: "integer", str: "text"}
    found = {kinds.get(type(label), type(label).__name__) for label in classes}
    if len(found) > 1 or not found <= set(kinds.values()):
        raise ConfigError(f"{place} are {' and '.join(sorted(found))}: write all as text or all as integers.")
    if len(classes) < (fewest := 1 if task == "multilabel" else 2):
        raise ConfigError(f"{place}: {len(classes)} declared; {task} needs at least {fewest}.")
    names = [str(label).lower() if isinstance(label, bool) else str(label) for label in classes]
    if twice := sorted({label for label in names if names.count(label) > 1}):
        raise ConfigError(f"{place}: {', '.join(map(shorten, twice))} declared twice. Write each class once.")
    return Target(task, tuple(names), found.pop())


def _ordered(labels: Iterable[str], task: str) -> tuple[str, ...]:
    names = sorted(labels)
    if all(re.fullmatch(r"-?[0-9]{1,300}", label) for label in names):
        names.sort(key=int)
    if task == "token_classification":
        names.sort(key=lambda tag: tag != "O")
    return tuple(names)


def _check_cells(cells: list[list[str]], column: TargetColumn, target: Target, *, hint: str) -> None:
    """Refuse labels of another type than the classes, and labels that are no class."""
    classes = set(target.classes)
    comparable = "untyped" in (column.kind, target.typed) or column.kind == target.typed
    for index, labels in enumerate(cells):
        for label in labels:
            if not comparable:
                raise column.error(index, _other_type(label, column.kind, target))
            if label not in classes:
                raise column.error(index, unknown_name("label", shorten(label)[1:-1], target.classes, hint))


def _other_type(label: str, kind: str, target: Target) -> str:
    shown = shorten(label) if kind == "text" else label
    if kind == "text" and label in target.classes:
        fix = f"Write {label} without quotes."
    else:
        fix = f"Make the column {target.typed}, or declare classes that are {kind}."
    few = f": {', '.join(target.classes)}" if len(target.classes) <= 12 else ""
    return f"label {shown} is {kind}, but the classes are {target.typed}{few}. {fix}"


def _nothing_to_learn(task: str, cells: list[list[str]]) -> str:
    labels = sorted({label for cell in cells for label in cell})
    shown = ", ".join(shorten(label) for label in labels) or "none"
    if task == "multilabel":
        return f"every training row has the same labels ({shown}): nothing to learn."
    return f"every training label is {shown}; {task} needs at least two classes in the training rows."


def _num_parts(value: Any) -> int:
    return len(value.split() if isinstance(value, str) else value or ())
