"""A network over a table's rows, trained from random weights.

Shape legend: B rows, C columns, F frequencies, W width of a column's embedding, D feature width.
"""

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from matrixhub import Batch, ConfigError, Features
from matrixhub_tabular.baseline import plain_columns
from matrixhub_tabular.processor import FIRST_BUCKET, MISSING_VALUE, NUMBER, ColumnsProcessor

FARTHEST = 10.0
"""Standard deviations from the mean beyond which all numbers look alike."""


class RunningScale(nn.Module):
    """Numbers in standard deviations from the mean of all rows seen in training so far.

    Not of the batch, as in batch normalization: a row's features don't depend on its neighbours.
    """

    count_C: Tensor
    mean_C: Tensor
    squares_C: Tensor

    def __init__(self, columns: int) -> None:
        super().__init__()
        for name in ("count_C", "mean_C", "squares_C"):
            self.register_buffer(name, torch.zeros(columns))

    def forward(self, numbers_BC: Tensor, is_number_BC: Tensor) -> Tensor:
        """(B, C); 0 where there is no number."""
        if self.training:
            self._see(numbers_BC, is_number_BC.float())
        std_C = (self.squares_C / self.count_C.clamp(min=1)).sqrt()
        scaled_BC = (numbers_BC - self.mean_C) / torch.where(std_C > 0, std_C, 1.0)
        return scaled_BC.clamp(-FARTHEST, FARTHEST) * is_number_BC

    @torch.no_grad()
    def _see(self, numbers_BC: Tensor, weight_BC: Tensor) -> None:
        """Join what is known with a batch (Chan et al. 1979)."""
        count_C = weight_BC.sum(0)
        mean_C = (numbers_BC * weight_BC).sum(0) / count_C.clamp(min=1)
        squares_C = ((numbers_BC - mean_C).square() * weight_BC).sum(0)
        total_C, step_C = self.count_C + count_C, mean_C - self.mean_C
        share_C = count_C / total_C.clamp(min=1)
        self.squares_C += squares_C + step_C.square() * self.count_C * share_C
        self.mean_C += step_C * share_C
        self.count_C.copy_(total_C)


class PeriodicEncoder(nn.Module):
    """Sines and cosines of numbers (Gorishniy et al. 2022), embeddings of categories, a small network.

    Options as in ``PeriodicConfig``.

    Raises:
        ConfigError: an option that cannot be right.
    """

    modality = "tabular"
    baseline_name = "columns + linear"

    def __init__(
        self,
        *,
        columns: int,
        buckets: int,
        categories: Sequence[int],
        frequencies: int,
        sigma: float,
        width: int,
        dim: int,
        dropout: float,
        seed: int,
        budget: int,
    ) -> None:
        super().__init__()
        self.processor = ColumnsProcessor(columns, buckets, frozenset(categories))
        if min(frequencies, width, dim) < 1 or sigma <= 0 or not 0 <= dropout < 1:
            raise ConfigError(
                "tabular.periodic: frequencies, width and dim must be at least 1, sigma above 0, dropout 0 to"
                " below 1."
            )
        self.dim, self.budget = dim, budget
        self.scale = RunningScale(columns)
        self.frequencies_CF = nn.Parameter(torch.empty(columns, frequencies))
        self.waves_CFW = nn.Parameter(torch.empty(columns, 2 * frequencies, width))
        self.bias_CW = nn.Parameter(torch.empty(columns, width))
        self.missing_CW = nn.Parameter(torch.empty(columns, width))
        self.table = nn.Embedding(buckets, width)
        self.network = nn.Sequential(
            nn.Linear(columns * width, dim), nn.GELU(), nn.Dropout(dropout), nn.Linear(dim, dim), nn.GELU()
        )
        self._start(sigma, torch.Generator().manual_seed(seed))

    def forward(self, batch: Batch) -> Features:
        """Pooled (B, D), float32."""
        numbers_BC, kinds_BC = batch["numbers_BC"], batch["kinds_BC"]
        is_number_BC = kinds_BC == NUMBER
        angles_BCF = 2 * math.pi * self.scale(numbers_BC, is_number_BC)[..., None] * self.frequencies_CF
        waves_BCF = torch.cat([angles_BCF.cos(), angles_BCF.sin()], dim=-1).to(self.waves_CFW.dtype)
        number_BCW = torch.einsum("bcf,cfw->bcw", waves_BCF, self.waves_CFW) + self.bias_CW
        category_BCW = self.table((kinds_BC - FIRST_BUCKET).clamp(min=0))
        embedded_BCW = (
            number_BCW.relu() * is_number_BC[..., None]
            + category_BCW * (kinds_BC >= FIRST_BUCKET)[..., None]
            + self.missing_CW * (kinds_BC == MISSING_VALUE)[..., None]
        )
        return Features(self.network(embedded_BCW.flatten(1)).float())

    def baseline_features(self, train: Sequence[Any], test: Sequence[Any]) -> tuple[Any, Any]:
        """Numbers, flags and one-hot categories, two dense matrices."""
        return plain_columns(train, test, processor=self.processor)

    @torch.no_grad()
    def _start(self, sigma: float, seeded: torch.Generator) -> None:
        """First weights, the same for the same seed whatever the global one."""
        self.frequencies_CF.normal_(0, sigma, generator=seeded)
        self.table.weight.normal_(0, 1, generator=seeded)
        self.missing_CW.normal_(0, 1, generator=seeded)
        bound = self.waves_CFW.shape[1] ** -0.5
        for weight in (self.waves_CFW, self.bias_CW):
            weight.uniform_(-bound, bound, generator=seeded)
        for layer in self.network:
            if isinstance(layer, nn.Linear):
                bound = layer.in_features**-0.5
                layer.weight.uniform_(-bound, bound, generator=seeded)
                layer.bias.uniform_(-bound, bound, generator=seeded)
