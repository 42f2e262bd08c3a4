"""A fusion in which one input asks the tokens of the others.

Shape legend: B rows, Q queries, T tokens, D width of an input or of the fused features, H heads of attention.
"""

import math
from collections.abc import Mapping

import torch
from torch import Tensor, nn

from matrixhub import ConfigError, Features


class Cross(nn.Module):
    """A layer of cross-attention (Vaswani et al. 2017): the first input asks, the others' tokens answer.

    Its queries are the first input's pooled features, or its tokens, whose answers are averaged. The pooled
    features of each other input are asked as one more token, so that one without tokens can be joined too.
    Fused: the first input, what it was answered, and the products of the two, number by number. Options as
    in ``CrossConfig``.

    Raises:
        ConfigError: fewer than two inputs, or an option out of range.
    """

    def __init__(
        self, *, dims: Mapping[str, int], dim: int, heads: int, queries: str, dropout: float
    ) -> None:
        super().__init__()
        if len(dims) < 2:
            raise ConfigError(f"A fusion joins several inputs; this product has {len(dims)}.")
        if dim < 1 or heads < 1 or dim % heads or not 0 <= dropout < 1 or queries not in QUERIES:
            raise ConfigError(
                f"fusion: dim={dim}, heads={heads}, dropout={dropout}, queries={queries}. dim must be a"
                f" multiple of heads, dropout 0 to below 1, queries one of {', '.join(QUERIES)}."
            )
        self.names, self.heads, self.queries, self.dim = list(dims), heads, queries, 3 * dim
        # A list: names of inputs need not be names of attributes. Noise is drawn where vectors are narrow.
        self.project = nn.ModuleList(
            nn.Sequential(nn.LayerNorm(width), nn.Linear(width, dim), nn.Dropout(dropout))
            for width in dims.values()
        )
        self.query, self.key, self.value, self.out = (nn.Linear(dim, dim) for _ in range(4))
        self.before, self.after = nn.LayerNorm(dim), nn.LayerNorm(dim)
        self.rest = nn.Sequential(nn.Linear(dim, 2 * dim), nn.GELU(), nn.Linear(2 * dim, dim))

    def forward(self, features: Mapping[str, Features]) -> Features:
        """Features by input, with tokens (B, T, D) where they have some, to Features (B, 3 dim)."""
        sequences = [_tokens(features[name]) for name in self.names]
        given = [
            (layer(tokens_BTD), mask_BT)
            for layer, (tokens_BTD, mask_BT) in zip(self.project, sequences, strict=True)
        ]
        (asking_BQD, real_BQ), others = given[0], given[1:]
        if self.queries == "pooled":
            asking_BQD, real_BQ = asking_BQD[:, :1], real_BQ[:, :1]
        asked_BTD = torch.cat([tokens_BTD for tokens_BTD, _ in others], dim=1)
        mask_BT = torch.cat([mask_BT for _, mask_BT in others], dim=1)
        found_BQD = asking_BQD + self._attend(self.before(asking_BQD), asked_BTD, mask_BT)
        found_BQD = found_BQD + self.rest(self.after(found_BQD))
        asked_BD, found_BD = given[0][0][:, 0], _mean(found_BQD, real_BQ)
        return Features(torch.cat([asked_BD, found_BD, asked_BD * found_BD], dim=-1))

    def _attend(self, asking_BQD: Tensor, asked_BTD: Tensor, mask_BT: Tensor) -> Tensor:
        query, key, value = (
            layer(one).unflatten(-1, (self.heads, -1)).transpose(1, 2)
            for layer, one in ((self.query, asking_BQD), (self.key, asked_BTD), (self.value, asked_BTD))
        )
        score_BHQT = query @ key.transpose(-1, -2) / math.sqrt(query.shape[-1])
        weight_BHQT = score_BHQT.masked_fill(~mask_BT[:, None, None], -torch.inf).softmax(dim=-1)
        answer_BQD: Tensor = self.out((weight_BHQT @ value).transpose(1, 2).flatten(-2))
        return answer_BQD


QUERIES = ("pooled", "tokens")


def _tokens(features: Features) -> tuple[Tensor, Tensor]:
    """The pooled vector (B, 1, D) and the tokens after it, and their mask."""
    pooled_B1D = features.pooled_BD[:, None]
    real_B1 = torch.ones_like(pooled_B1D[..., 0], dtype=torch.bool)
    if features.tokens_BTD is None or features.mask_BT is None:
        return pooled_B1D, real_B1
    return torch.cat([pooled_B1D, features.tokens_BTD], dim=1), torch.cat([real_B1, features.mask_BT], dim=1)


def _mean(tokens_BTD: Tensor, mask_BT: Tensor) -> Tensor:
    """Over real tokens, of which there is at least one."""
    kept_BTD = tokens_BTD.masked_fill(~mask_BT[..., None], 0.0)
    return kept_BTD.sum(dim=1) / mask_BT.sum(dim=1, keepdim=True)
