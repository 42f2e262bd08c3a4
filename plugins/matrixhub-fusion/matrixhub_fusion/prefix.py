"""From features to the vectors that a generator reads before its prompt.

Shape legend: B rows, P vectors of a prefix, W width of a generator's embeddings.
"""

from collections.abc import Mapping

import torch
from torch import nn

from matrixhub import ConfigError, Features


class Prefix(nn.Module):
    """A small network from all inputs, side by side, to a prefix (as in ClipCap; Mokady et al. 2021).

    Inputs are normalized first, row by row, and so is each vector in the end, whose numbers then have a
    spread of 1: the core brings them to that of the generator's embeddings. Options as in ``PrefixConfig``.
    """

    def __init__(
        self, *, dims: Mapping[str, int], dim: int, num_tokens: int, hidden: int, dropout: float
    ) -> None:
        super().__init__()
        if num_tokens < 1 or hidden < 0 or not 0 <= dropout < 1:
            raise ConfigError(
                f"fusion: num_tokens={num_tokens}, hidden={hidden} and dropout={dropout}. There must be at "
                "least 1 vector, hidden at least 0, dropout 0 to below 1."
            )
        self.dim, self.num_tokens, self.names = dim, num_tokens, list(dims)
        # A list and not a mapping: names of inputs need not be names of attributes.
        self.norms = nn.ModuleList(nn.LayerNorm(width) for width in dims.values())
        width, size = sum(dims.values()), num_tokens * dim
        middle = [nn.Linear(width, hidden), nn.GELU()] if hidden else []
        self.network = nn.Sequential(nn.Dropout(dropout), *middle, nn.Linear(hidden or width, size))
        self.scale = nn.LayerNorm(dim)

    def forward(self, features: Mapping[str, Features]) -> Features:
        """Features (B, D of each input) by input to vectors (B, P, W); pooled is their mean."""
        pairs = zip(self.names, self.norms, strict=True)
        joined = torch.cat([norm(features[name].pooled_BD) for name, norm in pairs], dim=-1)
        tokens_BPW = self.scale(self.network(joined).unflatten(-1, (self.num_tokens, self.dim)))
        mask_BP = torch.ones(tokens_BPW.shape[:2], dtype=torch.bool, device=tokens_BPW.device)
        return Features(tokens_BPW.mean(dim=1), tokens_BPW, mask_BP)
