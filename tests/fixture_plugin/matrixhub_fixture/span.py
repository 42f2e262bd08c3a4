"""The simplest way from features to a prefix."""

from collections.abc import Mapping

import torch
from torch import nn

from matrixhub import Features


class Span(nn.Module):
    """All inputs side by side, through one linear layer, cut into vectors."""

    def __init__(self, *, dims: Mapping[str, int], dim: int, num_tokens: int) -> None:
        super().__init__()
        self.names, self.dim, self.num_tokens = list(dims), dim, num_tokens
        self.line = nn.Linear(sum(dims.values()), num_tokens * dim)

    def forward(self, features: Mapping[str, Features]) -> Features:
        """Features (B, D) by input to vectors (B, num_tokens, dim)."""
        joined = torch.cat([features[name].pooled_BD for name in self.names], dim=-1)
        tokens_BPW = self.line(joined).unflatten(1, (self.num_tokens, self.dim))
        mask_BP = torch.ones(tokens_BPW.shape[:2], dtype=torch.bool, device=tokens_BPW.device)
        return Features(tokens_BPW.mean(dim=1), tokens_BPW, mask_BP)
