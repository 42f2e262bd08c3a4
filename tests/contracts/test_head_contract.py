"""What ``matrixhub.Head`` promises, for every installed head and every task it declares."""

import dataclasses
import math
from typing import Any

import pytest
import torch
from torch import Tensor

import matrixhub as mh
from matrixhub.protocols import Head, Standardizes
from matrixhub.registry import Component
from matrixhub.types import TASKS
from tests.contracts.tiny import HEADS

B, T, D, C = 24, 5, 8, 3
CLASSES = ("O", "B-place", "B-name")
CASES = [(c, task) for c in mh.list_components("head") for task in c.produces]


def targets_for(task: str) -> Tensor:
    """Targets as the core encodes them; every class occurs."""
    made = torch.Generator().manual_seed(1)
    index_B = torch.arange(B) % C
    match task:
        case "classification":
            return index_B
        case "multilabel":
            return torch.stack([index_B == 0, index_B < 2, index_B == 2], dim=1).float()
        case "regression":
            return 50 + 10 * torch.randn(B, generator=made)
        case "token_classification":
            tags_BT = (torch.arange(B)[:, None] + torch.arange(T)) % C
            return tags_BT.masked_fill(~mask(), -100)
    raise NotImplementedError(f"give the head contract some targets of task {task}")


def mask() -> Tensor:
    """Rows of one to T words."""
    return torch.arange(T) <= (torch.arange(B) % T)[:, None]


def features_for(targets: Tensor, task: str) -> mh.Features:
    """Features from which the targets can be learned."""
    made = torch.Generator().manual_seed(2)
    pooled_BD = torch.randn(B, D, generator=made)
    tokens_BTD = torch.randn(B, T, D, generator=made)
    match task:
        case "token_classification":
            tokens_BTD[..., :C] += 4 * torch.nn.functional.one_hot(targets.clamp(min=0), C)
        case "classification":
            pooled_BD[:, :C] += 4 * torch.nn.functional.one_hot(targets, C)
        case "multilabel":
            pooled_BD[:, :C] += 4 * targets
        case _:
            pooled_BD[:, 0] = (targets - 50) / 10
    return mh.Features(pooled_BD, tokens_BTD * mask()[..., None], mask())


@dataclasses.dataclass
class Subject:
    """A head under test with targets and features of its task."""

    component: Component
    task: str
    target: mh.Target
    targets: Tensor
    features: mh.Features

    def build(self) -> Any:
        torch.manual_seed(0)
        options = HEADS[self.component.name]
        return mh.create("head", self.component.name, dim=D, target=self.target, **options)

    def decode(self, head: Any) -> list[mh.Prediction]:
        words = self.features.mask_BT if head.level == "tokens" else None
        predictions: list[mh.Prediction] = head.eval().decode(head(self.features), words)
        return predictions

    def train(self, head: Any, steps: int = 100) -> tuple[float, float]:
        """Loss before and after."""
        optimizer = torch.optim.AdamW(head.parameters(), lr=0.05)
        losses = []
        for _ in range(steps):
            loss = head.loss(head(self.features), self.targets)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            losses.append(loss.item())
        return losses[0], losses[-1]


@pytest.fixture(params=CASES, ids=lambda case: f"{case[0].name} {case[1]}")
def subject(request: pytest.FixtureRequest) -> Subject:
    component, task = request.param
    assert component.name in HEADS, f"give {component.name} a line in tests/contracts/tiny.py"
    targets = targets_for(task)
    classes = () if task == "regression" else CLASSES
    target = mh.Target(task, classes, mean=50.0 if not classes else 0.0, std=10.0 if not classes else 1.0)
    return Subject(component, task, target, targets, features_for(targets, task))


@pytest.mark.parametrize("component", mh.list_components("head"), ids=lambda c: c.name)
def test_it_declares_what_it_reads_and_learns(component: Component) -> None:
    assert component.produces and set(component.produces) <= set(TASKS)
    assert component.consumes and set(component.consumes) <= {"pooled", "tokens"}


def test_it_has_the_shape_of_the_protocol(subject: Subject) -> None:
    head = subject.build()
    assert isinstance(head, Head)
    assert isinstance(head, torch.nn.Module)
    assert head.level == ("tokens" if subject.task == "token_classification" else "pooled")
    assert head.level in subject.component.consumes
    assert isinstance(head.higher_is_better, bool)


def test_outputs_have_the_promised_shape(subject: Subject) -> None:
    shapes = {"regression": (B,), "token_classification": (B, T, C)}
    outputs = subject.build()(subject.features)
    assert outputs.shape == shapes.get(subject.task, (B, C))
    assert outputs.isfinite().all()


def test_the_loss_is_a_finite_scalar_and_reaches_every_parameter(subject: Subject) -> None:
    head = subject.build()
    loss = head.loss(head(subject.features), subject.targets)
    assert loss.shape == () and loss.isfinite()
    loss.backward()
    for name, parameter in head.named_parameters():
        assert parameter.grad is not None and parameter.grad.isfinite().all(), name
        assert parameter.grad.abs().sum() > 0, name


def test_features_and_targets_are_not_changed(subject: Subject) -> None:
    head = subject.build()
    features, targets = subject.features, subject.targets.clone()
    kept = [t.clone() for t in (features.pooled_BD, features.tokens_BTD, features.mask_BT) if t is not None]
    outputs = head(features)
    head.loss(outputs, subject.targets).backward()
    head.metrics(outputs.detach(), subject.targets)
    head.decode(outputs.detach(), features.mask_BT)
    now = [t for t in (features.pooled_BD, features.tokens_BTD, features.mask_BT) if t is not None]
    assert all(torch.equal(a, b) for a, b in zip(kept, now, strict=True))
    assert torch.equal(targets, subject.targets)


def test_it_learns_what_can_be_learned_and_its_metric_says_so(subject: Subject) -> None:
    head = subject.build()
    with torch.no_grad():
        before = head.eval().metrics(head(subject.features), subject.targets)
    first, last = subject.train(head.train())
    with torch.no_grad():
        after = head.eval().metrics(head(subject.features), subject.targets)
    assert last < first / 2
    gain = after[head.metric] - before[head.metric]
    assert (gain if head.higher_is_better else -gain) > 0
    if subject.task != "regression":
        assert after[head.metric] > 0.95


def test_metrics_hold_the_main_one_and_are_finite(subject: Subject) -> None:
    head = subject.build().eval()
    metrics = head.metrics(head(subject.features).detach(), subject.targets)
    assert head.metric in metrics
    assert all(isinstance(value, float) and math.isfinite(value) for value in metrics.values())


def test_there_is_one_prediction_for_each_row(subject: Subject) -> None:
    for prediction, words in zip(subject.decode(subject.build()), mask().sum(dim=1).tolist(), strict=True):
        assert isinstance(prediction, mh.Prediction)
        assert prediction.score is None or 0 <= prediction.score <= 1
        assert not prediction.scores or set(prediction.scores) == set(CLASSES)
        match subject.task:
            case "classification":
                assert prediction.value in CLASSES
                assert prediction.scores[prediction.value] == max(prediction.scores.values())
            case "multilabel":
                assert set(prediction.value) <= set(CLASSES)
            case "regression":
                assert isinstance(prediction.value, float)
            case "token_classification":
                assert len(prediction.value) == words
                assert set(prediction.value) <= set(CLASSES)


def test_a_trained_head_answers_what_it_learned(subject: Subject) -> None:
    head = subject.build()
    subject.train(head.train())
    answers = [prediction.value for prediction in subject.decode(head)]
    match subject.task:
        case "classification":
            assert answers == [CLASSES[i] for i in subject.targets]
        case "multilabel":
            expected = [{c for c, on in zip(CLASSES, row, strict=True) if on} for row in subject.targets]
            assert [set(answer) for answer in answers] == expected
        case "regression":
            assert (torch.tensor(answers) - subject.targets).abs().mean() < 5
        case "token_classification":
            expected_tags = [[CLASSES[i] for i in row if i >= 0] for row in subject.targets]
            assert answers == expected_tags


def test_positions_that_do_not_count_do_not_count(subject: Subject) -> None:
    if subject.task != "token_classification":
        return
    head = subject.build().eval()
    outputs = head(subject.features).detach()
    spoiled = torch.where(mask()[..., None], outputs, torch.full_like(outputs, 1e4))
    assert head.loss(spoiled, subject.targets) == head.loss(outputs, subject.targets)
    assert head.metrics(spoiled, subject.targets) == head.metrics(outputs, subject.targets)


def test_weights_survive_being_stored(subject: Subject) -> None:
    head = subject.build()
    if isinstance(head, Standardizes):
        head.standardize(torch.linspace(-1, 1, D), torch.linspace(0.5, 2, D))
    subject.train(head.train(), steps=5)
    torch.manual_seed(99)
    again = mh.create(
        "head", subject.component.name, dim=D, target=subject.target, **HEADS[subject.component.name]
    )
    again.load_state_dict(head.state_dict())
    assert torch.equal(again.eval()(subject.features), head.eval()(subject.features))


def test_in_evaluation_the_same_features_give_the_same_outputs(subject: Subject) -> None:
    head = subject.build().eval()
    assert torch.equal(head(subject.features), head(subject.features))


def test_a_target_survives_as_plain_data(subject: Subject) -> None:
    assert mh.Target.from_dict(subject.target.to_dict()) == subject.target
    assert subject.target.num_outputs == (1 if subject.task == "regression" else C)
