"""Baselines: what the simplest alternatives score, by the head's own metrics."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.sparse import csr_matrix
from sklearn.datasets import load_diabetes, load_digits

from matrixhub.plugins import hub
from matrixhub.protocols import Head
from matrixhub.run import baselines as module
from matrixhub.run.baselines import Baseline, baselines
from matrixhub.types import Target


@dataclass
class Plain:
    """An encoder as far as baselines go: it knows plain features of its values."""

    features: Callable[[Sequence[Any]], Any] = np.asarray
    modality: str = "table"
    processor: Any = None
    dim: int = 1
    budget: int = 1
    baseline_name: str = "plain + linear"

    def __call__(self, batch: Any) -> Any:
        raise AssertionError("a baseline runs no encoder")

    def baseline_features(self, train: Sequence[Any], test: Sequence[Any]) -> tuple[Any, Any]:
        return self.features(train), self.features(test)


def score(
    target: Target, train: tuple[Any, Any], test: tuple[Any, Any], encoder: Plain | None
) -> list[Baseline]:
    head: Head = hub().component("head", "heads.linear").factory()(dim=4, target=target)
    return baselines(
        head,
        target=target,
        train_values=train[0],
        test_values=test[0],
        train_targets=train[1],
        test_targets=test[1],
        encoder=encoder,
    )


def halves(x: NDArray[Any], y: NDArray[Any]) -> tuple[tuple[Any, Any], tuple[Any, Any]]:
    order = np.random.default_rng(0).permutation(len(y))
    cut = len(y) * 4 // 5
    return (list(x[order[:cut]]), y[order[:cut]]), (list(x[order[cut:]]), y[order[cut:]])


def names(count: int) -> tuple[str, ...]:
    return tuple(f"c{i}" for i in range(count))


def test_majority_class_scores_its_share() -> None:
    target = Target("classification", names(3))
    train, test = np.array([2] * 6 + [0] * 4), np.array([2, 2, 2, 0, 1])
    (found,) = score(target, ([""] * 10, train), ([""] * 5, test), None)
    assert found.name == "majority class"
    assert found.metrics["accuracy"] == pytest.approx(0.6)


def test_majority_labels_are_those_that_most_rows_have() -> None:
    target = Target("multilabel", names(2))
    train = np.array([[1, 0], [1, 0], [1, 1], [0, 0]], dtype=np.float32)
    test = np.array([[1, 0], [1, 1]], dtype=np.float32)
    (found,) = score(target, ([""] * 4, train), ([""] * 2, test), None)
    assert found.name == "majority labels"
    assert found.metrics["exact_match"] == pytest.approx(0.5)
    assert found.metrics["micro_f1"] == pytest.approx(2 * 2 / (2 + 3))


def test_mean_of_training_targets() -> None:
    target = Target("regression", mean=2.0, std=1.0)
    train, test = np.array([1, 3], dtype=np.float32), np.array([2, 4, 6], dtype=np.float32)
    (found,) = score(target, ([""] * 2, train), ([""] * 3, test), None)
    assert found.name == "mean"
    assert found.metrics["mae"] == pytest.approx(2.0)
    assert found.metrics["r2"] < 0


@pytest.mark.parametrize("padded", [False, True])
@pytest.mark.parametrize("joined", [False, True])
def test_tags_by_majority_and_by_word(padded: bool, joined: bool) -> None:
    target = Target("token_classification", ("O", "B-X"))
    words = [["to", "Rome", "and", "Rome"], ["Rome", "burns"], ["so"]]
    tags: Any = [np.array([0, 1, 0, 1]), np.array([0, 0]), np.array([0])]
    test_words, test_tags = [["Rome", "sleeps"], ["Paris"]], [np.array([1, 0]), np.array([1])]
    given_tags: Any = test_tags
    if padded:
        tags = np.array([[0, 1, 0, 1, -100], [0, 0, -100, -100, -100], [0, -100, -100, -100, -100]])
        given_tags = np.array([[1, 0, -100, -100, -100], [1, -100, -100, -100, -100]])
    rows, test_rows = ([" ".join(r) for r in w] if joined else w for w in (words, test_words))
    majority, lookup = score(target, (rows, tags), (test_rows, given_tags), Plain())
    assert (majority.name, lookup.name) == ("majority tag", "per-word lookup")
    assert majority.metrics["tag_accuracy"] == pytest.approx(1 / 3)
    assert majority.metrics["entity_f1"] == 0.0
    # Rome is known, Paris is not: one of two entities, none invented.
    assert lookup.metrics["tag_accuracy"] == pytest.approx(2 / 3)
    assert lookup.metrics["entity_f1"] == pytest.approx(2 / 3)


def test_linear_model_on_raw_pixels_reads_digits() -> None:
    digits = load_digits()
    train, test = halves(digits.data, digits.target.astype(np.int64))
    found = score(Target("classification", names(10)), train, test, Plain())
    assert [baseline.name for baseline in found] == ["majority class", "plain + linear"]
    assert found[0].metrics["accuracy"] < 0.2
    assert found[1].metrics["accuracy"] > 0.94
    assert score(Target("classification", names(10)), train, test, Plain()) == found


def test_linear_model_on_sparse_features() -> None:
    rng = np.random.default_rng(0)
    x = (rng.random((300, 40)) < 0.2).astype(float)
    y = (x[:, 0] + x[:, 1] > x[:, 2]).astype(np.int64)
    train, test = halves(x, y)
    found = score(Target("classification", names(2)), train, test, Plain(lambda v: csr_matrix(np.array(v))))
    assert found[1].metrics["accuracy"] > 0.95 > found[0].metrics["accuracy"]


def test_linear_model_of_several_labels_with_one_that_never_and_one_that_always_holds() -> None:
    x = np.random.default_rng(0).normal(size=(400, 6))
    y = np.stack([x[:, 0] > 0, x[:, 1] > 0.5, x[:, 0] > 99, x[:, 0] > -99], axis=1).astype(np.float32)
    train, test = halves(x, y)
    found = score(Target("multilabel", names(4)), train, test, Plain())
    assert found[1].metrics["exact_match"] > 0.9
    assert found[0].metrics["exact_match"] < 0.6


def test_linear_model_of_a_number() -> None:
    table = load_diabetes()
    train, test = halves(table.data, table.target.astype(np.float32))
    target = Target("regression", mean=float(train[1].mean()), std=float(train[1].std()))
    found = score(target, train, test, Plain())
    assert found[0].metrics["r2"] < 0.01
    assert found[1].metrics["r2"] > 0.35


def test_classes_that_training_rows_lack() -> None:
    """Declared but unseen in training: the linear model never says them, and does not fail."""
    x = np.random.default_rng(0).normal(size=(60, 3))
    y = np.where(x[:, 0] > 0, 3, 1)
    train, test = halves(x, y)
    found = score(Target("classification", names(5)), train, test, Plain())
    assert found[1].metrics["accuracy"] > 0.8


@pytest.mark.parametrize("num_rows", [2, 3, 6])
def test_a_handful_of_rows(num_rows: int) -> None:
    x, y = np.arange(num_rows, dtype=float)[:, None], np.arange(num_rows) % 2
    found = score(Target("classification", names(2)), (list(x), y), (list(x), y), Plain())
    assert len(found) == 2


def test_regularization_is_chosen_on_held_out_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    """Noisy targets, many features of one factor: an untuned alternative would flatter the product."""
    rng = np.random.default_rng(0)
    factor = rng.normal(size=(1000, 1))
    x = factor + rng.normal(size=(1000, 100))
    y = (factor[:, 0] + 3 * rng.normal(size=1000)).astype(np.float32)
    train, test = halves(x, y)
    target = Target("regression", mean=0.0, std=float(y.std()))
    tuned = score(target, train, test, Plain())[1].metrics["r2"]
    monkeypatch.setattr(module, "_STRENGTHS", module._STRENGTHS[:1])
    assert tuned > score(target, train, test, Plain())[1].metrics["r2"] + 0.05


def test_many_rows_are_thinned_and_the_name_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MOST_ROWS", 100)
    x = np.random.default_rng(0).normal(size=(1000, 3))
    y = np.sort((x[:, 0] > 0).astype(np.int64))  # rows come sorted by class
    x[:, 1] = y
    train = (list(x[:-10]), y[:-10])
    found = score(Target("classification", names(2)), train, (list(x), y), Plain())
    assert found[1].name == "plain + linear, 100 rows"
    assert found[1].metrics["accuracy"] == 1.0
