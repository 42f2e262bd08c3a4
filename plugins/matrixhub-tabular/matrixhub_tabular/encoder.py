"""Columns as features that need no fitting. Shape legend: B rows, C columns, D feature width."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from matrixhub import Batch, Features
from matrixhub_tabular.baseline import plain_columns
from matrixhub_tabular.processor import FIRST_BUCKET, MISSING_VALUE, ColumnsProcessor


class FixedEncoder(nn.Module):
    """Every column in places of its own, and every category in a place that its name hashes to.

    A number x is given as it is and as sign(x) log(1 + |x|); a missing one as 0 and a flag. Categories
    share ``buckets`` places (feature hashing, Weinberger et al. 2009). Nothing is learned, so one row
    gives the same features among any others. Options as in ``FixedConfig``.
    """

    modality = "tabular"
    baseline_name = "columns + linear"

    def __init__(
        self, *, columns: int, buckets: int, categories: Sequence[int], raw: bool, budget: int
    ) -> None:
        super().__init__()
        self.processor = ColumnsProcessor(columns, buckets, frozenset(categories))
        self.raw, self.budget = raw, budget
        self.dim = (3 if raw else 2) * columns + buckets

    def forward(self, batch: Batch) -> Features:
        """Pooled (B, D), float32."""
        numbers_BC, kinds_BC = batch["numbers_BC"], batch["kinds_BC"]
        logs_BC = numbers_BC.sign() * numbers_BC.abs().log1p()
        parts = [logs_BC, (kinds_BC == MISSING_VALUE).float(), self._categories(kinds_BC)]
        return Features(torch.cat([numbers_BC, *parts] if self.raw else parts, dim=1))

    def baseline_features(self, train: Sequence[Any], test: Sequence[Any]) -> tuple[Any, Any]:
        """Numbers, flags and one-hot categories, two dense matrices."""
        return plain_columns(train, test, processor=self.processor)

    def _categories(self, kinds_BC: Tensor) -> Tensor:
        """How many categories fell into each bucket, (B, buckets)."""
        is_category_BC = (kinds_BC >= FIRST_BUCKET).float()
        empty = is_category_BC.new_zeros(len(kinds_BC), self.processor.buckets)
        return empty.scatter_add(1, (kinds_BC - FIRST_BUCKET).clamp(min=0), is_category_BC)
