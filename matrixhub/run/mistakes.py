"""The rows that a trained cell answers worst, to be read by whoever wants to know why."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import torch
from torch import Tensor

from matrixhub.data.columns import values
from matrixhub.protocols import Head
from matrixhub.types import RETRIEVAL, Prediction, Target

MOST_ERRORS, MOST_CHARACTERS, PATH_PARTS = 10, 200, 3
MISSING = "(missing)"
FOUND_AT_ONCE = 1024
"""Rows that are compared with all others at a time."""

Rows = np.ndarray[Any, np.dtype[np.int64]]


def worst_errors(
    head: Head,
    outputs: Tensor,
    targets: Tensor,
    *,
    spec: Target,
    inputs: Mapping[str, Any],
    table: pa.Table,
    rows: Rows,
) -> dict[str, Any]:
    """The worst answers of one output to the test rows, worst first.

    Args:
        head: gave them.
        outputs, targets: of the test rows, words aligned.
        spec: what the output learned.
        inputs: of the product; their values are shown.
        table: all rows.
        rows: positions of the test rows.

    Returns:
        ``num_wrong`` (None for numbers, which are never quite right) and ``errors``, each with ``row``
        (in the table, counted from 1), ``input``, ``truth``, ``answer`` and ``score``, its confidence.
    """
    if spec.task == RETRIEVAL:
        return found_wrong(outputs, targets, inputs=inputs, table=table, rows=rows)
    wrong, badness = _wrong(outputs, targets, spec.task)
    worst = badness.topk(min(MOST_ERRORS, len(badness)))
    chosen = worst.indices[worst.values > 0]
    mask = targets[chosen] != -100 if spec.task == "token_classification" else None
    answers = head.decode(outputs[chosen], mask)
    places = rows[chosen.numpy()]
    shown = {name: _values(table, one, places, spec.task) for name, one in inputs.items()}
    errors = []
    for i, (place, target, answer) in enumerate(zip(places, targets[chosen], answers, strict=True)):
        words = next(iter(shown.values()))[i]
        truth, said = _apart(spec, target, answer, words)
        errors.append(
            {
                "row": int(place) + 1,
                "input": {n: preview(found[i], inputs[n]["modality"]) for n, found in shown.items()},
                "truth": truth,
                "answer": said,
                "score": answer.score,
            }
        )
    return {"num_wrong": None if wrong is None else int(wrong.sum()), "errors": errors}


def found_wrong(
    outputs: Tensor, targets: Tensor, *, inputs: Mapping[str, Any], table: pa.Table, rows: Rows
) -> dict[str, Any]:
    """Rows whose first input finds another second input before a right one, by how much; as ``worst_errors``.

    Args:
        outputs: (N, 2E), first and second input side by side.
        targets: (N, 2), as ``number_pairs`` gives them.
        inputs, table, rows: as for ``worst_errors``.
    """
    first_NE, second_NE = outputs.chunk(2, dim=-1)
    found = [(part @ second_NE.T).max(dim=1) for part in torch.split(first_NE, FOUND_AT_ONCE)]
    best_N, place_N = (torch.cat([one[i] for one in found]) for i in range(2))
    is_wrong = (targets != targets[place_N]).all(dim=1)
    badness = (best_N - (first_NE * second_NE).sum(dim=1)) * is_wrong
    chosen = badness.topk(min(MOST_ERRORS, int(is_wrong.sum()))).indices
    (name, first), (_, second) = inputs.items()
    asked, right = (values(table, one["column"], rows[chosen.numpy()], nulls=True) for one in (first, second))
    answers = values(table, second["column"], rows[place_N[chosen].numpy()], nulls=True)
    errors = [
        {
            "row": int(rows[i]) + 1,
            "input": {name: preview(asked[place], first["modality"])},
            "truth": preview(right[place], second["modality"]),
            "answer": preview(answers[place], second["modality"]),
            "score": None,
        }
        for place, i in enumerate(chosen.tolist())
    ]
    return {"num_wrong": int(is_wrong.sum()), "errors": errors}


def preview(value: Any, modality: str) -> str:
    """A value of an input in at most ``MOST_CHARACTERS``; of an image, where it is."""
    if value is None:
        return MISSING
    if isinstance(value, Mapping):
        value = value.get("path")
    if modality == "image":
        return _short_path(value) if isinstance(value, str) else "image"
    parts = [value] if isinstance(value, str) else value if isinstance(value, list | tuple) else [str(value)]
    between = " | " if isinstance(value, tuple) else " "
    # A row may be a megabyte: only its beginning is looked at.
    text = between.join(
        " ".join(str(part)[: 4 * MOST_CHARACTERS].split()) for part in parts[:MOST_CHARACTERS]
    )
    text = text.encode("utf-8", "replace").decode()
    return text if len(text) <= MOST_CHARACTERS else f"{text[: MOST_CHARACTERS - 1]}…"


def _short_path(path: str) -> str:
    """The end of a path, which tells files apart; where the folder is, is nobody's business."""
    parts = Path(path).parts
    text = path if len(parts) <= PATH_PARTS else "/".join(["…", *parts[-PATH_PARTS:]])
    return text if len(text) <= MOST_CHARACTERS else f"…{text[1 - MOST_CHARACTERS :]}"


def _wrong(outputs: Tensor, targets: Tensor, task: str) -> tuple[Tensor | None, Tensor]:
    """Which rows are wrong (None where none is ever right), and how bad each is: 0 where it is right."""
    if task == "regression":
        return None, (outputs - targets).abs().nan_to_num(0.0)
    if task == "multilabel":
        is_wrong = (outputs > 0) != targets.bool()
        return is_wrong.any(-1), ((outputs.sigmoid() - targets).abs() * is_wrong).sum(-1)
    confidence, answer = outputs.softmax(-1).max(-1)
    is_wrong = (answer != targets) & (targets != -100)
    badness = (confidence * is_wrong).nan_to_num(0.0)
    return (is_wrong.any(-1), badness.sum(-1)) if targets.ndim == 2 else (is_wrong, badness)


def _values(table: pa.Table, one: Mapping[str, Any], places: Rows, task: str) -> Sequence[Any]:
    return values(table, one["column"], places, words=task == "token_classification", nulls=True)


def _apart(spec: Target, target: Tensor, answer: Prediction, words: Any) -> tuple[Any, Any]:
    """Truth and answer in words; of a row of tags, those that differ."""
    if spec.task == "regression":
        return target.item(), answer.value
    if spec.task == "multilabel":
        return [
            label for label, holds in zip(spec.classes, target.tolist(), strict=True) if holds
        ], answer.value
    if spec.task == "classification":
        return spec.classes[int(target)], answer.value
    tags = [spec.classes[i] for i in target[target != -100].tolist()]
    apart = list(_tag_pairs(words, tags, answer.value))
    return [f"{word}: {tag}" for word, tag, _ in apart], [f"{word}: {tag}" for word, _, tag in apart]


def _tag_pairs(
    words: Sequence[str], truth: Sequence[str], said: Sequence[str]
) -> Iterator[tuple[str, str, str]]:
    """(word, true tag, tag given) of the words whose tags differ, the first few."""
    differing = [each for each in zip(words, truth, said, strict=False) if each[1] != each[2]]
    yield from ((word[:40], true, given) for word, true, given in differing[:MOST_ERRORS])
