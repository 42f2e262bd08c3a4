"""What retrieval learns: which of two rows' inputs belong together."""

from collections.abc import Sequence

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from matrixhub.data.columns import require_columns, require_values
from matrixhub.data.digests import digest_table
from matrixhub.data.units import numbered
from matrixhub.errors import DataError

Numbers = NDArray[np.int64]


def number_pairs(table: pa.Table, inputs: Sequence[Sequence[str]], target: str | None) -> Numbers:
    """A number for each side of each row, int64 (N, 2).

    Two rows belong together where they have the same number on one side: there what is found by the one
    is right for the other, too. Without a target that is where one of their inputs is the same.

    Args:
        table: the rows.
        inputs: columns of the first and of the second input.
        target: column of what a row is about; rows with the same value belong together.

    Raises:
        DataError: a column or a target is missing; names it.
    """
    if target is None:
        return np.stack([numbered(digest_table(table, columns))[0] for columns in inputs], axis=1)
    require_columns(table, [target], role="the target")
    require_values(table, [target])
    items, _ = numbered(digest_table(table, [target], exact=True))
    return np.stack([items, items], axis=1)


def require_different(pairs: Numbers) -> None:
    """Refuse rows that all belong together.

    Raises:
        DataError: they do.
    """
    if (pairs == pairs[:1]).any(axis=1).all():
        raise DataError(
            "every training row is about the same as the first: nothing to find. Give retrieval rows that"
            " differ in both inputs."
        )
