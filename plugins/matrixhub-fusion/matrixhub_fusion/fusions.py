"""Fusions that learn how inputs depend on each other.

Shape legend: B rows, M inputs, R rank, D width of an input or of the fused features.
"""

import itertools
import math
from collections.abc import Iterator, Mapping

import torch
from torch import Tensor, nn

from matrixhub import ConfigError, Features


class Projections(nn.Module):
    """Features of each input, (B, D of that input), in one width, (B, width) within -1..1.

    They are normalized first, row by row, for encoders differ in the size of their features.

    Args:
        dims: D of each named input.
        width: that they are brought to.
        dropout: share of the normalized features set to zero while training.

    Raises:
        ConfigError: fewer than two inputs, a width below 1, or dropout outside 0 to 1.
    """

    def __init__(self, dims: Mapping[str, int], width: int, dropout: float) -> None:
        super().__init__()
        if len(dims) < 2:
            raise ConfigError(f"A fusion joins several inputs; this product has {len(dims)}.")
        if width < 1 or not 0 <= dropout < 1:
            raise ConfigError(
                f"fusion: a width of {width} and dropout={dropout}. The width must be at least 1, dropout 0"
                f" to below 1."
            )
        self.names = list(dims)
        # A list and not a mapping: names of inputs need not be names of attributes.
        self.layers = nn.ModuleList(
            nn.Sequential(nn.LayerNorm(dim), nn.Dropout(dropout), nn.Linear(dim, width), nn.Tanh())
            for dim in dims.values()
        )

    def forward(self, features: Mapping[str, Features]) -> list[Tensor]:
        """(B, width) of each input, in the order of the product's inputs."""
        pairs = zip(self.names, self.layers, strict=True)
        return [layer(features[name].pooled_BD) for name, layer in pairs]


class Weighted(nn.Module):
    """A weighted mean of the inputs, by a learned gate (Arevalo et al. 2017, for any number of inputs).

    Each input i is projected to h_i = tanh(W_i x_i); the gate is a softmax over one number an input, which
    is linear in all h. Fused: the sum of gate_i h_i. Options as in ``WeightedConfig``.
    """

    def __init__(self, *, dims: Mapping[str, int], dim: int, dropout: float) -> None:
        super().__init__()
        self.dim = dim
        self.project = Projections(dims, dim, dropout)
        self.gate = nn.Linear(len(dims) * dim, len(dims))

    def forward(self, features: Mapping[str, Features]) -> Features:
        """Features (B, D of each input) by input to Features (B, dim)."""
        projected_BMD = torch.stack(self.project(features), dim=1)
        weight_BM = self.gate(projected_BMD.flatten(1)).softmax(dim=-1)
        return Features((weight_BM[..., None] * projected_BMD).sum(dim=1))


class Bilinear(nn.Module):
    """Low-rank bilinear pooling (Kim et al. 2017), for any number of inputs.

    Each input i is projected to h_i = tanh(W_i x_i), R wide; every two are multiplied, number by number, and
    these products are added up. A linear head on them is a full bilinear model of rank R. With ``keep`` the
    h_i stand beside the products. Options as in ``BilinearConfig``.
    """

    def __init__(self, *, dims: Mapping[str, int], rank: int, dropout: float, keep: bool) -> None:
        super().__init__()
        self.keep = keep
        self.dim = rank * (1 + len(dims) * keep)
        self.project = Projections(dims, rank, dropout)

    def forward(self, features: Mapping[str, Features]) -> Features:
        """Features (B, D of each input) by input to Features (B, R), or (B, R + M R) with ``keep``."""
        projected = self.project(features)
        product_BR = torch.stack(list(_products(projected))).sum(dim=0)
        return Features(torch.cat([product_BR, *projected], dim=-1) if self.keep else product_BR)


class Shared(nn.Module):
    """The mean of the inputs a row has, in one space that all are projected to, as vectors of length 1.

    Any subset of the inputs lands in the same space. Options as in ``SharedConfig``.
    """

    def __init__(self, *, dims: Mapping[str, int], dim: int, dropout: float) -> None:
        super().__init__()
        self.dim = dim
        self.names = list(dims)
        self.project = Projections(dims, dim, dropout)

    def forward(self, features: Mapping[str, Features]) -> Features:
        """Features (B, D of each input) by input to Features (B, dim), of length sqrt(dim)."""
        unit_BMD = nn.functional.normalize(torch.stack(self.project(features), dim=1), dim=-1)
        mean_BD = (unit_BMD * self._shares(features, unit_BMD)).sum(dim=1)
        return Features(nn.functional.normalize(mean_BD, dim=-1) * math.sqrt(self.dim))

    def _shares(self, features: Mapping[str, Features], unit_BMD: Tensor) -> Tensor:
        """Weight (B, M, 1) of each input: the same for all that a row has, none for those it lacks."""
        everywhere_B = torch.ones_like(unit_BMD[:, 0, 0])
        present = [features[name].present_B for name in self.names]
        kept_BM = torch.stack(
            [everywhere_B if one is None else one.to(everywhere_B) for one in present], dim=1
        )
        return (kept_BM / kept_BM.sum(dim=1, keepdim=True).clamp(min=1))[..., None]


def _products(projected: list[Tensor]) -> Iterator[Tensor]:
    for one_BR, other_BR in itertools.combinations(projected, 2):
        yield one_BR * other_BR
