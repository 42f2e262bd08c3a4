"""The simplest honest features of a table's rows. Shape legend: N rows, C columns, K kept categories."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from matrixhub_tabular.processor import FIRST_BUCKET, MISSING_VALUE, NUMBER, ColumnsProcessor

MOST_CATEGORIES = 500
"""Of all columns together; the most frequent ones of the training rows are kept."""


def plain_columns(
    train: Sequence[Any], test: Sequence[Any], *, processor: ColumnsProcessor
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Numbers with the mean where they are missing, a flag where they are, and one-hot categories.

    Returns:
        Two dense matrices, one row each.
    """
    numbers_NC, kinds_NC = _read(train, processor)
    is_number = kinds_NC == NUMBER
    mean_C = numbers_NC.sum(0, where=is_number) / is_number.sum(0).clip(min=1)
    kept = _frequent(kinds_NC)
    return _matrix(numbers_NC, kinds_NC, mean_C, kept), _matrix(*_read(test, processor), mean_C, kept)


def _read(values: Sequence[Any], processor: ColumnsProcessor) -> tuple[NDArray[Any], NDArray[Any]]:
    batch = processor.collate(processor.prepare(values))
    return batch["numbers_BC"].double().numpy(), batch["kinds_BC"].numpy()


def _frequent(kinds_NC: NDArray[Any]) -> NDArray[Any]:
    """(column, kind) of the most frequent categories, (K, 2)."""
    rows, columns = np.nonzero(kinds_NC >= FIRST_BUCKET)
    pairs = np.stack([columns, kinds_NC[rows, columns]], axis=1)
    found, counts = np.unique(pairs, axis=0, return_counts=True)
    return found[np.argsort(-counts, kind="stable")[:MOST_CATEGORIES]]


def _matrix(
    numbers_NC: NDArray[Any], kinds_NC: NDArray[Any], mean_C: NDArray[Any], kept: NDArray[Any]
) -> NDArray[np.float32]:
    filled_NC = np.where(kinds_NC == NUMBER, numbers_NC, mean_C)
    one_hot_NK = kinds_NC[:, kept[:, 0]] == kept[:, 1]
    return np.concatenate([filled_NC, kinds_NC == MISSING_VALUE, one_hot_NK], axis=1, dtype=np.float32)
