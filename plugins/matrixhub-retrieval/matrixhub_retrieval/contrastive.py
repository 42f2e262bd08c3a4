"""A head that tells what belongs together from what does not.

Shape legend: B rows of a batch, N rows of all ranks, E width of one input, 2E of both side by side.
"""

import math

import torch
from torch import Tensor, nn
from torch.nn.functional import cosine_similarity, normalize

from matrixhub import ConfigError, Features, Prediction, Target
from matrixhub_retrieval.gather import gathered, is_spread
from matrixhub_retrieval.ranking import blocks, ranking, together

LARGEST_SCALE = 100.0
"""Of similarities, as in CLIP (Radford et al. 2021): a larger one makes training unstable."""


class Contrastive(nn.Module):
    """InfoNCE (van den Oord et al. 2018) between two inputs, both ways, with a batch for negatives.

    Outputs are both inputs at unit length side by side, times the root of a learned scale, so that their
    products are scaled similarities. Rows that belong together (see ``together``) are no negatives of each
    other; it is enough for one of them to be near.

    Args:
        dim: 2E.
        target: what to learn.
        temperature: see ``ContrastiveConfig``.

    Raises:
        ConfigError: ``dim`` cannot be two inputs of one width, or the temperature is below 0.01.
    """

    level = "pooled"
    metric = "recall_at_10"
    higher_is_better = True

    def __init__(self, *, dim: int, target: Target, temperature: float) -> None:
        super().__init__()
        if dim % 2:
            raise ConfigError(
                f"head=contrastive compares two inputs of one width, but their features are {dim} wide"
                f" together, an odd number: choose fusion=towers."
            )
        if not temperature >= 1 / LARGEST_SCALE:
            raise ConfigError(
                f"head.temperature={temperature}: must be {1 / LARGEST_SCALE:g} or more, such as 0.07."
            )
        self.log_scale = nn.Parameter(torch.tensor(-math.log(temperature)))

    def forward(self, features: Features) -> Tensor:
        """Features (B, 2E) to outputs (B, 2E), float32."""
        sides = [normalize(side.float(), dim=-1) for side in features.pooled_BD.chunk(2, dim=-1)]
        bounded = self.log_scale.clamp(max=math.log(LARGEST_SCALE))
        # The bound lets the gradient through, so that a step beyond it can be taken back.
        scale = self.log_scale + (bounded - self.log_scale).detach()
        return torch.cat(sides, dim=-1) * scale.div(2).exp()

    def loss(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """Mean over the rows of this rank, and over both ways, against the rows of all ranks.

        Args:
            outputs: (B, 2E).
            targets: int64 (B, 2), equal numbers on one side for rows that belong together.
        """
        if self.training and is_spread():
            all_outputs, all_targets = gathered(outputs), gathered(targets)
        else:
            all_outputs, all_targets = outputs, targets
        first_NE, second_NE = all_outputs.chunk(2, dim=-1)
        parts = []
        for rows, numbers in zip(blocks(outputs), blocks(targets), strict=True):
            first_BE, second_BE = rows.chunk(2, dim=-1)
            right_BN = together(numbers, all_targets)
            parts += [
                _unlikely(first_BE @ second_NE.T, right_BN),
                _unlikely(second_BE @ first_NE.T, right_BN),
            ]
        return torch.cat(parts).mean()

    def decode(self, outputs: Tensor, mask_BT: Tensor | None = None) -> list[Prediction]:
        """How similar the two inputs of each row are, -1 to 1."""
        first_BE, second_BE = outputs.chunk(2, dim=-1)
        return [Prediction(value=one) for one in cosine_similarity(first_BE, second_BE).tolist()]

    def metrics(self, outputs: Tensor, targets: Tensor) -> dict[str, float]:
        """How well the second input is found by the first among those of all rows, and back (``back_``)."""
        first_NE, second_NE = outputs.chunk(2, dim=-1)
        back = ranking(second_NE, first_NE, targets)
        return ranking(first_NE, second_NE, targets) | {f"back_{name}": one for name, one in back.items()}


def _unlikely(similar_BN: Tensor, right_BN: Tensor) -> Tensor:
    """-log of the probability that is on the right ones, (B,)."""
    right = similar_BN.masked_fill(~right_BN, -torch.inf)
    return similar_BN.logsumexp(dim=-1) - right.logsumexp(dim=-1)
