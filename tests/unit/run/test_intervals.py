"""Intervals against known values, and against what they promise."""

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from matrixhub.run.intervals import GROUPS, MOST_TARGETS, interval, jackknife, wilson
from tests.unit.run.tiny import model


class Recall:
    """A head that is scored by whether the second input is among the ten nearest to the first."""

    level, metric, higher_is_better = "pooled", "recall_at_10", True

    def metrics(self, outputs: Tensor, targets: Tensor) -> dict[str, float]:
        first, second = outputs.chunk(2, dim=-1)
        similar = first @ second.T
        rank = (similar >= similar.diagonal()[:, None]).sum(dim=1)
        return {self.metric: (rank <= 10).double().mean().item()}


class Mean:
    """A head that is scored by the mean of its outputs, whose interval is known by a formula."""

    level, metric, higher_is_better = "pooled", "mean", True

    def metrics(self, outputs: Tensor, targets: Tensor) -> dict[str, float]:
        if len(set(targets.tolist())) < 2:
            raise ValueError("one class only")
        return {self.metric: outputs.mean().item()}


def head(metric: str = "mean") -> Any:
    made = Mean()
    made.metric = metric
    return made


def test_wilson_agrees_with_published_values() -> None:
    """Newcombe, Statistics in Medicine 17 (1998), table I, method 3."""
    for right, rows, low, high in (
        (81, 263, 0.2553, 0.3662),
        (15, 148, 0.0624, 0.1605),
        (0, 20, 0.0, 0.1611),
    ):
        assert wilson(right, rows) == pytest.approx((low, high), abs=5e-5)
    assert wilson(29, 29) == pytest.approx((0.8830, 1.0), abs=5e-5)
    assert wilson(0, 0) is None


def test_accuracy_counts_only_rows_with_a_target() -> None:
    outputs = torch.eye(3)[[0, 1, 2, 0]]
    found = interval(model().readout.head("y"), outputs, torch.tensor([0, 1, 1, -100]))
    assert found == wilson(2, 3)


def test_the_jackknife_of_a_mean_is_that_of_students_formula() -> None:
    values = torch.arange(20.0)
    low, high = jackknife(head(), values, torch.arange(20)) or (0.0, 0.0)
    error = values.std().item() / 20**0.5
    assert (low, high) == pytest.approx((9.5 - 2.093 * error, 9.5 + 2.093 * error), rel=1e-4)


def test_intervals_hold_the_truth_about_95_times_in_100() -> None:
    rng = np.random.default_rng(0)
    held = 0
    for _ in range(200):
        sample = torch.from_numpy(rng.exponential(size=200))
        low, high = jackknife(head(), sample, torch.arange(200)) or (0.0, 0.0)
        held += low <= 1.0 <= high
    assert 180 <= held <= 198


@pytest.mark.slow
def test_intervals_of_recall_hold_the_truth_about_95_times_in_100() -> None:
    """Also where there are more rows than others' spread is measured on: recall depends on their number."""
    generator, found = torch.Generator().manual_seed(0), []
    finds: Any = Recall()
    for _ in range(100):
        first, noise = torch.randn(2, 2_500, 8, generator=generator)
        outputs = torch.cat([first, first + 1.3 * noise], dim=1)
        targets = torch.arange(2_500)[:, None].expand(-1, 2)
        ends = interval(finds, outputs, targets)
        assert ends
        found.append((finds.metrics(outputs, targets)["recall_at_10"], ends))
    truth = sum(recall for recall, _ in found) / len(found)
    held = sum(low <= truth <= high for _, (low, high) in found)
    assert 88 <= held <= 99


def test_rows_that_are_found_together_count_once() -> None:
    finds: Any = Recall()
    finds.metrics = lambda outputs, targets: {"recall_at_10": 0.5}
    captions = torch.stack([torch.arange(200), torch.arange(200) // 5], dim=1)
    assert interval(finds, torch.zeros(200, 8), captions) == wilson(20, 40)
    assert interval(finds, torch.zeros(19, 8), captions[:19]) is None


def test_many_rows_are_sampled_and_the_interval_is_as_narrow_as_they_make_it() -> None:
    sample = torch.from_numpy(np.random.default_rng(0).normal(size=100_000))
    scored: list[int] = []

    class Counts(Mean):
        def metrics(self, outputs: Tensor, targets: Tensor) -> dict[str, float]:
            scored.append(len(outputs))
            return super().metrics(outputs, targets)

    many: Any = Counts()
    low, high = jackknife(many, sample, torch.arange(100_000)) or (0.0, 0.0)
    assert (high - low) / 2 == pytest.approx(2.093 / 100_000**0.5, rel=0.4)
    assert scored == [100_000, *[MOST_TARGETS * 19 // 20] * GROUPS]


def test_the_same_outputs_have_the_same_interval() -> None:
    sample, targets = torch.randn(50), torch.arange(50)
    assert jackknife(head(), sample, targets) == jackknife(head(), sample, targets)


def test_there_is_none_where_nothing_can_be_said() -> None:
    few = torch.arange(GROUPS - 1.0)
    assert jackknife(head(), few, few) is None
    assert jackknife(head(), torch.ones(30), torch.zeros(30)) is None, "the metric is not defined"
    assert jackknife(head(), torch.full((30,), float("nan")), torch.arange(30)) is None


def test_a_share_never_ends_above_one() -> None:
    values = torch.cat([torch.ones(99), torch.zeros(1)])
    assert (jackknife(head("accuracy"), values, torch.arange(100)) or (0, 0))[1] <= 1
