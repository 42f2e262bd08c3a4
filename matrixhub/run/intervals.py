"""How far a score may be off, for want of more test rows: 95 % intervals at the price of a few scorings."""

import math
from collections.abc import Sequence
from statistics import fmean, stdev

import torch
from torch import Tensor

from matrixhub.protocols import Head

GROUPS = 20
"""Parts that are left out in turn; fewer rows than that have no interval."""

MOST_TARGETS = 4_000
"""Targets (rows, labels of a row, words of a row) that are scored ``GROUPS`` times; more are sampled."""

NORMAL_95, STUDENT_95 = 1.959964, 2.093024
"""Two-sided quantiles: the normal one, and Student's for ``GROUPS - 1`` degrees of freedom."""

SHARES = frozenset({"accuracy", "micro_f1", "macro_f1", "entity_f1", "r2"})
"""Metrics that are 1 at best, so that no interval ends above it."""

RECALL = "recall_at_10"

Interval = tuple[float, float]


def interval(head: Head, outputs: Tensor, targets: Tensor) -> Interval | None:
    """Where the main metric would lie on other rows of the same kind, 95 times out of 100.

    Args:
        head: scores them.
        outputs, targets: of the test rows, as ``Head.metrics`` takes them.

    Returns:
        None where there are too few rows to say, or the metric is not defined on a part of them.
    """
    if head.metric == "accuracy" and outputs.ndim == 2:
        counts = targets != -100
        right = (outputs.argmax(-1) == targets) & counts
        return wilson(int(right.sum()), int(counts.sum()))
    if head.metric == RECALL:
        return recall_interval(head.metrics(outputs, targets)[RECALL], targets)
    return jackknife(head, outputs, targets)


def recall_interval(recall: float, targets: Tensor) -> Interval | None:
    """The interval of the share of rows that are found, among as many others.

    It cannot be measured on a sample: fewer rows are found more easily. Rows with the same number on one
    side are found or not together, so only different ones count.

    Args:
        recall: of all rows.
        targets: (N, 2), as for ``Head.metrics``.
    """
    num_different = min(len(side.unique()) for side in targets.T) if len(targets) >= GROUPS else 0
    return wilson(recall * num_different, num_different)


def wilson(num_right: float, num_rows: int) -> Interval | None:
    """The score interval of a share.

    E. B. Wilson, "Probable inference, the law of succession, and statistical inference", JASA 22 (1927):
    unlike the plain normal one, it is neither empty at 0 or 1 nor ever beyond them.
    """
    if not num_rows:
        return None
    share, z2 = num_right / num_rows, NORMAL_95**2
    middle = share + z2 / (2 * num_rows)
    reach = NORMAL_95 * math.sqrt((share * (1 - share) + z2 / (4 * num_rows)) / num_rows)
    shrink = 1 + z2 / num_rows
    return max((middle - reach) / shrink, 0.0), min((middle + reach) / shrink, 1.0)


def mean_interval(scores: Sequence[float]) -> Interval | None:
    """The interval of a mean of shares, one a row; never outside of 0 and 1."""
    if len(scores) < GROUPS:
        return None
    mean, reach = fmean(scores), NORMAL_95 * stdev(scores) / math.sqrt(len(scores))
    return max(mean - reach, 0.0), min(mean + reach, 1.0)


def jackknife(head: Head, outputs: Tensor, targets: Tensor) -> Interval | None:
    """The interval of any metric, from ``GROUPS`` scorings that each leave out a part of the rows.

    P. S. Kott, "The delete-a-group jackknife", Journal of Official Statistics 17 (2001). A bootstrap needs
    ten times as many scorings, and scoring entities costs more than training their head. For the same
    reason the spread is measured on ``MOST_TARGETS``, and shrinks with the root of the rows as that of a
    mean does. The rows are drawn with a fixed seed: the same outputs have the same interval.
    """
    num_rows = len(outputs)
    if num_rows < GROUPS:
        return None
    num_drawn = min(num_rows, max(5 * GROUPS, MOST_TARGETS * num_rows // targets.numel()))
    drawn = torch.randperm(num_rows, generator=torch.Generator().manual_seed(0))[:num_drawn]
    group = torch.arange(num_drawn) % GROUPS
    rest = [drawn[group != g].sort().values for g in range(GROUPS)]
    try:
        whole = head.metrics(outputs, targets)[head.metric]
        parts = [head.metrics(outputs[rows], targets[rows])[head.metric] for rows in rest]
    except (ValueError, RuntimeError):  # such as a part without one of the classes
        return None
    mean = sum(parts) / GROUPS
    variance = (GROUPS - 1) / GROUPS * sum((part - mean) ** 2 for part in parts)
    reach = STUDENT_95 * math.sqrt(variance * num_drawn / num_rows)
    if not math.isfinite(reach):
        return None
    return whole - reach, min(whole + reach, 1.0) if head.metric in SHARES else whole + reach
