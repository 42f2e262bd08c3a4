"""How well rows find each other.

Shape legend: N rows, Q of them that are asked for at a time, E width of a vector.
"""

from collections.abc import Iterator

import torch
from torch import Tensor

ROWS_AT_ONCE = 1024
"""Rows that are compared with all others at a time."""

FIRST = 10
"""Places that nDCG looks at."""


def together(numbers_Q2: Tensor, all_N2: Tensor) -> Tensor:
    """Which rows belong together, bool (Q, N): those with the same number on either side."""
    return (numbers_Q2[:, None] == all_N2[None]).any(dim=-1)


def blocks(rows: Tensor) -> Iterator[Tensor]:
    """Of ``ROWS_AT_ONCE``: all similarities of a whole split would not fit."""
    for start in range(0, len(rows), ROWS_AT_ONCE):
        yield rows[start : start + ROWS_AT_ONCE]


def ranking(query_NE: Tensor, found_NE: Tensor, targets_N2: Tensor) -> dict[str, float]:
    """Means over all queries, each of which looks for what belongs to it among all found.

    ``recall_at_K``: the share of queries with a right one among the first K; ``mrr``: the mean of one over
    the rank of the first right one; ``ndcg_at_10``: all right ones count, by their places (Järvelin &
    Kekäläinen 2002). What is as similar as the first right one is placed before it.
    """
    ranks, gains = [], []
    for query, numbers in zip(blocks(query_NE), blocks(targets_N2), strict=True):
        similar_QN, right_QN = query @ found_NE.T, together(numbers, targets_N2)
        best_Q = similar_QN.masked_fill(~right_QN, -torch.inf).amax(dim=-1, keepdim=True)
        ranks.append(1 + ((similar_QN >= best_Q) & ~right_QN).sum(dim=-1))
        gains.append(_gain(similar_QN, right_QN))
    rank_N = torch.cat(ranks)
    recall = {f"recall_at_{k}": _mean(rank_N <= k) for k in (1, 5, 10)}
    return {**recall, "mrr": _mean(1 / rank_N), "ndcg_at_10": _mean(torch.cat(gains))}


def _gain(similar_QN: Tensor, right_QN: Tensor) -> Tensor:
    """nDCG of the first places, (Q,)."""
    num_places = min(FIRST, similar_QN.shape[1])
    weights = 1 / torch.arange(2, num_places + 2).log2()
    # Wrong ones first where all are alike.
    order = right_QN.int().argsort(dim=-1, stable=True)
    ordered = similar_QN.gather(-1, order).argsort(dim=-1, descending=True, stable=True)
    places = order.gather(-1, ordered[:, :num_places])
    ideal_Q = weights.cumsum(0)[right_QN.sum(dim=-1).clamp(max=num_places) - 1]
    return (right_QN.gather(-1, places) * weights).sum(dim=-1) / ideal_Q


def _mean(numbers: Tensor) -> float:
    return float(numbers.double().mean())
