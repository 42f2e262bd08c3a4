"""Fusions of the core."""

from collections.abc import Mapping

import torch
from torch import nn

from matrixhub.types import Features


class Concat(nn.Module):
    """Pooled features of several inputs side by side, in the order of the product's inputs.

    Args:
        dims: width D of each named input.
    """

    def __init__(self, *, dims: Mapping[str, int]) -> None:
        super().__init__()
        self.names = list(dims)
        self.dim = sum(dims.values())

    def forward(self, features: Mapping[str, Features]) -> Features:
        """Features (B, D) by input to Features (B, sum of D)."""
        return Features(torch.cat([features[name].pooled_BD for name in self.names], dim=-1))
