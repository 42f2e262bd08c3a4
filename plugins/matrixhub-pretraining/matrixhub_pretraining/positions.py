"""Sinusoidal position encodings (Vaswani et al. 2017, section 3.5)."""

import math

import torch
from torch import Tensor


def sinusoidal(num_positions: int, dim: int) -> Tensor:
    """PE(p, 2i) = sin(p / 10000^(2i/D)) and PE(p, 2i+1) = cos of the same, float32 (P, D)."""
    position_P1 = torch.arange(num_positions, dtype=torch.float64)[:, None]
    rate_I = torch.exp(torch.arange(0, dim, 2, dtype=torch.float64) * (-math.log(10000.0) / dim))
    angle_PI = position_P1 * rate_I
    return torch.stack([angle_PI.sin(), angle_PI.cos()], dim=-1).reshape(num_positions, dim).float()


def position_table(num_positions: int, dim: int) -> Tensor:
    """What stands in a BERT's position embedding: the encodings over the root of D, float32 (P, D).

    The paper multiplies token embeddings by that root before it adds the encodings. BERT does not, but
    normalizes the sum, so dividing the encodings comes to the same.
    """
    return sinusoidal(num_positions, dim) / math.sqrt(dim)
