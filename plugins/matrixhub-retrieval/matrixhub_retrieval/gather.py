"""Rows of all ranks, so that each is told from those of every other rank too.

Shape legend: B rows of this rank, N rows of all ranks, E width.
"""

from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor


def is_spread() -> bool:
    """Whether this process is one of several that train together."""
    return dist.is_available() and dist.is_initialized() and dist.get_world_size() > 1


def gathered(rows_BE: Tensor) -> Tensor:
    """Rows of all ranks (N, E), in the order of the ranks; numbers of rows may differ.

    A gradient reaches the rank that a row came from, summed over what all ranks made of the row.
    """
    found: Tensor = _Gathered.apply(rows_BE)
    return found


class _Gathered(torch.autograd.Function):
    """torch.distributed.nn.functional.all_gather needs rows of one number, and more than gloo has."""

    @staticmethod
    def forward(ctx: Any, rows_BE: Tensor) -> Tensor:
        count = torch.tensor([len(rows_BE)], device=rows_BE.device)
        counts = [torch.zeros_like(count) for _ in range(dist.get_world_size())]
        dist.all_gather(counts, count)
        ctx.counts = [int(one) for one in counts]
        padded = rows_BE.new_zeros((max(ctx.counts), *rows_BE.shape[1:]))
        padded[: len(rows_BE)] = rows_BE
        parts = [torch.empty_like(padded) for _ in ctx.counts]
        dist.all_gather(parts, padded)
        return torch.cat([part[:count] for part, count in zip(parts, ctx.counts, strict=True)])

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> Tensor:
        whole_NE = grads[0].contiguous().clone()
        dist.all_reduce(whole_NE)
        rank = dist.get_rank()
        return whole_NE[sum(ctx.counts[:rank]) :][: ctx.counts[rank]]
