"""What finding the second input by the first is compared with: chance, and words in common."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from matrixhub.protocols import Encoder, HasBaseline, Head
from matrixhub.run.baselines import Baseline

DRAWS = 10
"""Of chance, whose mean is told."""

MOST_ROWS = 4096
"""Test rows whose plain features are all compared with each other; of more, there is chance alone."""


def finding(
    head: Head,
    *,
    first: Sequence[Any],
    second: Sequence[Any],
    targets: Tensor,
    encoder: Encoder | None,
) -> list[Baseline]:
    """What one gets without a model, then by plain features of both inputs; simplest first.

    Args:
        head: computes the metrics, of first and second vectors side by side, larger products being nearer.
        first, second: raw values of the test rows.
        targets: (N, 2), as ``number_pairs`` gives them.
        encoder: of both inputs; None where they differ in modality.
    """
    num_rows, draws = len(targets), 1 if len(targets) > MOST_ROWS else DRAWS
    made = torch.Generator().manual_seed(0)
    drawn = [head.metrics(torch.randn(num_rows, 128, generator=made), targets) for _ in range(draws)]
    found = [Baseline("chance", {name: sum(d[name] for d in drawn) / draws for name in drawn[0]})]
    if isinstance(encoder, HasBaseline) and num_rows <= MOST_ROWS:
        both = [*first, *second]
        plain, _ = encoder.baseline_features(both, both[:1])
        # A row's similarities stand for its first vector, and axes for the second ones.
        similar = torch.tensor(_dense(plain[:num_rows] @ plain[num_rows:].T), dtype=torch.float32)
        outputs = torch.cat([similar, torch.eye(num_rows)], dim=1)
        name = encoder.baseline_name.partition(" + ")[0]
        found.append(Baseline(f"{name}, untrained", head.metrics(outputs, targets)))
    return found


def _dense(matrix: Any) -> Any:
    return matrix.toarray() if hasattr(matrix, "toarray") else matrix
