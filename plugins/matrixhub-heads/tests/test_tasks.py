"""Loss, decoding and metrics of each task, against scikit-learn, seqeval and plain arithmetic."""

import math
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from matrixhub_heads.entities import entity_scores, has_entities
from matrixhub_heads.tasks import build_task
from numpy.typing import NDArray
from scipy.stats import pearsonr, spearmanr
from seqeval.metrics import f1_score as entity_f1_score
from seqeval.metrics import precision_score as entity_precision_score
from seqeval.metrics import recall_score as entity_recall_score
from sklearn.metrics import accuracy_score, f1_score, mean_absolute_error, r2_score, root_mean_squared_error
from torch.nn.functional import one_hot

from matrixhub import Target

CLASSES = ("a", "b", "c", "d")
TAGS = ("O", "B-PER", "I-PER", "B-LOC", "I-LOC")
SEEDS = range(5)


def generator(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.mark.parametrize("seed", SEEDS)
def test_classification_metrics(seed: int) -> None:
    outputs = torch.randn(40, 4, generator=generator(seed))
    targets = torch.randint(0, 3, (40,), generator=generator(seed + 100))  # the fourth class never occurs
    outputs[:, 3] = -9
    targets[::7] = -100
    kept = targets != -100
    truth, predicted = targets[kept].numpy(), outputs.argmax(-1)[kept].numpy()
    found = build_task(Target("classification", CLASSES)).metrics(outputs, targets)
    assert found == pytest.approx(
        {
            "accuracy": accuracy_score(truth, predicted),
            "macro_f1": f1_score(truth, predicted, average="macro"),
        }
    )


@pytest.mark.parametrize("seed", SEEDS)
def test_multilabel_metrics(seed: int) -> None:
    # Logits between 0 and 1 too: they must not be taken for probabilities.
    outputs = torch.rand(40, 4, generator=generator(seed)) * 2 - 1
    targets = (torch.rand(40, 4, generator=generator(seed + 100)) > 0.6).float()
    outputs[:, 3], targets[:, 3] = -1, 0
    truth, predicted = targets.int().numpy(), (outputs.sigmoid() > 0.5).int().numpy()
    found = build_task(Target("multilabel", CLASSES)).metrics(outputs, targets)
    assert found == pytest.approx(
        {
            "micro_f1": f1_score(truth, predicted, average="micro"),
            "macro_f1": f1_score(truth, predicted, average="macro", zero_division=0),
            "exact_match": accuracy_score(truth, predicted),
        }
    )


@pytest.mark.parametrize(("scale", "shift"), [(1.0, 0.0), (1e-3, 0.0), (5.0, 1e4)])
def test_regression_metrics(scale: float, shift: float) -> None:
    rng = np.random.default_rng(0)
    truth: NDArray[Any] = (shift + scale * rng.integers(0, 9, 50)).astype(np.float32)
    predicted: NDArray[Any] = (truth + scale * rng.integers(-3, 3, 50)).astype(np.float32)
    found = build_task(Target("regression")).metrics(torch.tensor(predicted), torch.tensor(truth))
    truth, predicted = truth.astype(float), predicted.astype(float)
    assert found == pytest.approx(
        {
            "r2": r2_score(truth, predicted),
            "mae": mean_absolute_error(truth, predicted),
            "rmse": root_mean_squared_error(truth, predicted),
            "pearson": pearsonr(truth, predicted).statistic,
            "spearman": spearmanr(truth, predicted).statistic,
        },
        abs=1e-6,
    )


@pytest.mark.parametrize(
    ("predicted", "truth"), [([1.0, 1, 1], [1.0, 2, 3]), ([1.0, 2, 3], [2.0, 2, 2]), ([1.0], [3.0])]
)
@pytest.mark.filterwarnings("error")
def test_regression_metrics_are_finite_where_undefined(predicted: list[float], truth: list[float]) -> None:
    found = build_task(Target("regression")).metrics(torch.tensor(predicted), torch.tensor(truth))
    assert all(math.isfinite(value) for value in found.values())
    assert found["pearson"] == found["spearman"] == 0.0


@pytest.mark.parametrize("seed", SEEDS)
def test_token_metrics_leave_out_padding(seed: int) -> None:
    task = build_task(Target("token_classification", TAGS))
    truth_BT = torch.randint(0, 5, (20, 9), generator=generator(seed))
    noisy = torch.rand(20, 9, generator=generator(seed + 50)) < 0.3
    guess_BT = truth_BT.where(~noisy, torch.randint(0, 5, (20, 9), generator=generator(seed + 100)))
    lengths = torch.randint(0, 10, (20,), generator=generator(seed + 200)).tolist()
    targets_BT = truth_BT.clone()
    for row, length in enumerate(lengths):
        targets_BT[row, length:] = -100
    found = task.metrics(one_hot(guess_BT, 5).float(), targets_BT)

    def words(index_BT: torch.Tensor) -> list[list[str]]:
        pairs = zip(index_BT.tolist(), lengths, strict=True)
        return [[TAGS[i] for i in row[:length]] for row, length in pairs]

    truth, guess = words(truth_BT), words(guess_BT)
    flat = [[tag for row in rows for tag in row] for rows in (truth, guess)]
    assert task.metric == "entity_f1"
    assert found == pytest.approx(
        {
            "entity_f1": entity_f1_score(truth, guess),
            "entity_precision": entity_precision_score(truth, guess),
            "entity_recall": entity_recall_score(truth, guess),
            "tag_accuracy": accuracy_score(*flat),
        }
    )


def test_tags_without_entities_are_scored_by_tag() -> None:
    task = build_task(Target("token_classification", ("NOUN", "VERB")))
    assert task.metric == "macro_f1"
    targets = torch.tensor([[0, 1, 1], [1, -100, -100]])
    found = task.metrics(one_hot(torch.tensor([[0, 1, 0], [1, 0, 0]]), 2).float(), targets)
    assert found == pytest.approx(
        {"macro_f1": f1_score([0, 1, 1, 1], [0, 1, 0, 1], average="macro"), "tag_accuracy": 0.75}
    )


@pytest.mark.parametrize(
    ("classes", "entities"),
    [
        (TAGS, True),
        (("O", "I-PER"), True),
        (("B-X", "M-X", "E-X", "S-X"), True),
        (("O", "B-X", "L-X", "U-X"), True),
        (("NOUN", "VERB"), False),
        (("O", "PER"), False),
        (("O",), False),
        (("O", "B-PER", "X"), False),
    ],
)
def test_which_tags_mark_entities(classes: tuple[str, ...], entities: bool) -> None:
    assert has_entities(classes) is entities


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize(
    "truth", [["B-X", "I-X", "E-X", "S-X"], ["B-X", "M-X", "E-X", "S-X"], ["B-X", "I-X", "L-X", "U-X"]]
)
def test_schemes_that_mark_the_end_count_the_same(truth: list[str]) -> None:
    guess = [*truth[:3], "O"]
    assert entity_scores([truth], [guess]) == pytest.approx(
        {"entity_f1": 2 / 3, "entity_precision": 1.0, "entity_recall": 0.5}
    )


@pytest.mark.filterwarnings("error")
def test_no_entity_at_all_scores_zero() -> None:
    assert set(entity_scores([["O"]], [["O"]]).values()) == {0.0}


def test_loss_leaves_out_padding_and_survives_its_being_all() -> None:
    task = build_task(Target("token_classification", TAGS))
    outputs = torch.randn(2, 3, 5, generator=generator(0), requires_grad=True)
    targets = torch.tensor([[1, -100, -100], [2, 0, -100]])
    log_p = outputs.log_softmax(-1)
    expected = -(log_p[0, 0, 1] + log_p[1, 0, 2] + log_p[1, 1, 0]) / 3
    assert task.loss(outputs, targets).item() == pytest.approx(expected.item(), rel=1e-5)
    nothing = task.loss(outputs, torch.full((2, 3), -100))
    nothing.backward()  # type: ignore[no-untyped-call]
    assert nothing.item() == 0.0
    assert outputs.grad is not None
    assert outputs.grad.abs().sum() == 0


@given(st.lists(st.integers(0, 3), min_size=1))
def test_decoding_inverts_classes(labels: list[int]) -> None:
    task = build_task(Target("classification", CLASSES))
    found = task.decode(one_hot(torch.tensor(labels), 4) * 9.0)
    assert [prediction.value for prediction in found] == [CLASSES[i] for i in labels]
    for prediction in found:
        assert sum(prediction.scores.values()) == pytest.approx(1.0)
        assert tuple(prediction.scores) == CLASSES
        assert prediction.score == prediction.scores[prediction.value] > 0.99


@given(st.lists(st.sets(st.sampled_from(CLASSES)), min_size=1))
def test_decoding_inverts_label_sets(rows: list[set[str]]) -> None:
    hot = torch.tensor([[1.0 if label in row else -1.0 for label in CLASSES] for row in rows])
    found = build_task(Target("multilabel", CLASSES)).decode(hot)
    assert [set(prediction.value) for prediction in found] == rows
    assert all((p.scores[label] > 0.5) == (label in p.value) for p in found for label in CLASSES)


@settings(deadline=None)
@given(st.lists(st.lists(st.integers(0, 4), max_size=6), min_size=1))
def test_decoding_gives_a_tag_for_each_real_word(rows: list[list[int]]) -> None:
    task = build_task(Target("token_classification", TAGS))
    index_BT = torch.zeros(len(rows), 6, dtype=torch.long)
    for padded, row in zip(index_BT, rows, strict=True):
        padded[: len(row)] = torch.tensor(row, dtype=torch.long)
    mask_BT = torch.arange(6) < torch.tensor([[len(row)] for row in rows])
    found = task.decode(one_hot(index_BT, 5).float(), mask_BT)
    assert [prediction.value for prediction in found] == [[TAGS[i] for i in row] for row in rows]
    assert all(len(p.value) == 6 for p in task.decode(one_hot(index_BT, 5).float()))
