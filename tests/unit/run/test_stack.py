"""Heads trained together: each as the plain loop trains it, and as if nobody trained beside it."""

import dataclasses
import math
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from matrixhub.data.store import StoredFeatures
from matrixhub.errors import NonFiniteError, TrainingError
from matrixhub.run.feed import FeatureFeed
from matrixhub.run.loop import Task, fit
from matrixhub.run.model import ProductModel
from matrixhub.run.stack import Member, fit_stack, is_stackable
from matrixhub.types import Features, Target
from tests.unit.run import tiny

CPU = torch.device("cpu")
MLP: dict[str, Any] = {"name": "heads.mlp", "hidden": [6], "dropout": 0.0, "label_smoothing": 0.0}
DIFFERENT: list[dict[str, Any]] = [
    {},
    {"lr": 3e-2},
    {"weight_decay": 0.5},
    {"clip": 1e-2},
    {"clip": None, "schedule": "linear"},
    {"warmup": 0.5, "schedule": "constant"},
    {"epochs": 2},
    {"seed": 3},
]


def member(head: Mapping[str, Any] | None = None, *, start: int = 0, **changes: Any) -> Member:
    torch.manual_seed(start)
    model = tiny.model(head=head)
    if start:
        with torch.no_grad():
            for parameter in model.parameters():
                parameter.normal_(std=0.2)
    return Member(model, {**tiny.TRAINER, **changes})


def train(members: list[Member], task: Task | None = None, monitor: str = "loss") -> list[dict[str, Tensor]]:
    fit_stack(members, task or tiny.task(), monitor=monitor, accelerator=tiny.accelerator())
    return [tiny.weights(one.model) for one in members]


@pytest.mark.parametrize("head", [None, MLP], ids=["linear", "mlp"])
@pytest.mark.parametrize("changes", DIFFERENT, ids=str)
def test_one_member_is_trained_as_the_plain_loop_does(head: Any, changes: dict[str, Any]) -> None:
    alone, plain = member(head, **changes), member(head, **changes)
    history = fit(plain.model, tiny.task(), trainer=plain.trainer, accelerator=tiny.accelerator())
    (found,) = train([alone])
    assert tiny.apart(found, tiny.weights(plain.model)) < 1e-5
    assert alone.history.best_epoch == history.best_epoch
    assert alone.history.num_steps == history.num_steps
    for entry, wanted in zip(alone.history.epochs, history.epochs, strict=True):
        assert entry == pytest.approx({key: wanted[key] for key in entry}, abs=1e-5)
    assert not alone.model.training


def test_rows_that_lack_an_optional_input_teach_what_stands_in_for_it() -> None:
    present = np.arange(tiny.ROWS) % 3 > 0
    stored = dataclasses.replace(tiny.features(), present=present)
    task = tiny.task(feed=FeatureFeed({"x": stored}, CPU))
    stacked, plain = (Member(tiny.model(optional=["x"]), {**tiny.TRAINER}) for _ in range(2))
    (before_D,) = [p.detach().clone() for p in stacked.model.readout.absent]
    fit(plain.model, task, trainer=plain.trainer, accelerator=tiny.accelerator())
    (found,) = train([stacked], task)
    assert tiny.apart(found, tiny.weights(plain.model)) < 1e-5
    assert float((found["readout.absent.0"] - before_D).abs().max()) > 1e-3


@pytest.mark.parametrize("head", [None, {**MLP, "dropout": 0.4}], ids=["linear", "mlp with dropout"])
def test_members_do_not_feel_each_other(head: Any) -> None:
    """Each with its own numbers, initial weights, data order and dropout: as when it is alone."""
    made = [member(head, start=k, **changes) for k, changes in enumerate(DIFFERENT)]
    alone = [member(head, start=k, **changes) for k, changes in enumerate(DIFFERENT)]
    together = train(made)
    for one, found in zip(alone, together, strict=True):
        (wanted,) = train([one])
        assert tiny.apart(found, wanted) < 1e-5
    assert len({round(float(found["readout.heads.y.network.1.weight"].sum()), 4) for found in together}) == 8


def test_dropout_is_noise_and_its_seed_repeats_it() -> None:
    def trained(**changes: Any) -> dict[str, Tensor]:
        (found,) = train([member({"dropout": changes.pop("dropout", 0.5)}, **changes)])
        return found

    assert tiny.apart(trained(), trained()) == 0
    assert tiny.apart(trained(), trained(dropout=0.0)) > 1e-3


def test_each_member_stops_at_its_own_time_and_keeps_its_best_weights() -> None:
    changes: dict[str, Any] = {"epochs": 40, "schedule": "constant", "patience": 2}
    wild, calm = member(lr=3.0, **changes), member(lr=1e-3, **changes)
    weights, _ = train([wild, calm])
    losses = [entry["loss"] for entry in wild.history.epochs]
    assert wild.history.best_epoch == 1 + losses.index(min(losses))
    assert len(losses) == wild.history.best_epoch + 2 < len(calm.history.epochs) == 40
    task = tiny.task()
    ((_, inputs),) = task.feed.inputs([task.validation])
    with torch.no_grad():
        loss = nn.functional.cross_entropy(wild.model(inputs)[0]["y"], task.targets["y"][task.validation])
    assert float(loss) == pytest.approx(min(losses), abs=1e-6)
    assert tiny.apart(weights, tiny.weights(wild.model)) == 0


def test_a_metric_can_be_watched() -> None:
    one = member(epochs=12)
    train([one, member(lr=0.1)], monitor="y.accuracy")
    scores = [entry["y.accuracy"] for entry in one.history.epochs]
    assert scores[0] < max(scores)
    assert one.history.best_epoch == 1 + scores.index(max(scores))


def test_without_validation_rows_the_training_loss_is_watched() -> None:
    one = member()
    train([one], tiny.task(validation=np.arange(0)), monitor="train_loss")
    assert set(one.history.epochs[0]) == {"epoch", "train_loss"}


def test_one_bad_member_costs_the_others_nothing() -> None:
    """Reliability row 14: no step is taken, the rows are named; the others go on."""
    good, bad, alone = member(), member(), member()
    with torch.no_grad():
        next(iter(bad.model.parameters()))[0, 0] = math.inf
    before = tiny.weights(bad.model)
    found, after = train([good, bad])
    assert isinstance(bad.error, NonFiniteError)
    assert "no step was taken" in str(bad.error)
    assert all(torch.equal(before[name], after[name]) for name in before)
    assert good.error is None
    (wanted,) = train([alone])
    assert tiny.apart(found, wanted) < 1e-6


def test_a_bad_row_is_named() -> None:
    stored = tiny.features()
    targets = tiny.labels(stored).float()
    targets[14] = math.nan
    task = tiny.task(feed=FeatureFeed({"x": stored}, CPU), targets={"y": targets})
    made = [Member(tiny.model(targets={"y": Target("regression")}), tiny.TRAINER) for _ in range(2)]
    train(made, task)
    assert all("at row 15; no step was taken" in str(one.error) for one in made)


def test_a_figure_that_is_never_a_number_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    one = member()
    head: Any = one.model.readout.heads["y"]
    head.task.metrics = lambda outputs, targets: {"accuracy": math.nan}
    train([one], monitor="y.accuracy")
    assert isinstance(one.error, TrainingError)
    assert "never a finite number" in str(one.error)


def tokens_task() -> Task:
    """Rows of 1 to 4 words; the tag of a word is where its first three numbers are largest."""
    rng = np.random.default_rng(0)
    lengths = rng.integers(1, 5, tiny.ROWS)
    data = rng.normal(size=(int(lengths.sum()), tiny.DIM)).astype(np.float32)
    starts = np.cumsum(lengths) - lengths
    spans = np.stack([starts, lengths], axis=1)
    tags = torch.full((tiny.ROWS, 4), -100)
    for row, (start, length) in enumerate(spans):
        tags[row, :length] = torch.from_numpy(data[start : start + length, :3].argmax(axis=1))
    stored = StoredFeatures(data, spans, np.zeros(tiny.ROWS, dtype=bool), pooled=False)
    return tiny.task(feed=FeatureFeed({"x": stored}, CPU), targets={"y": tags})


def test_tags_are_learned_as_the_plain_loop_does() -> None:
    spec = {"y": Target("token_classification", ("a", "b", "c"))}
    made = [Member(tiny.model(targets=spec), {**tiny.TRAINER, "lr": lr}) for lr in (1e-2, 5e-2)]
    found = train(made, tokens_task())
    for one, weights in zip(made, found, strict=True):
        plain = tiny.model(targets=spec)
        history = fit(plain, tokens_task(), trainer=one.trainer, accelerator=tiny.accelerator())
        assert tiny.apart(weights, tiny.weights(plain)) < 1e-5
        assert one.history.epochs[-1]["loss"] == pytest.approx(history.epochs[-1]["loss"], abs=1e-5)


class Odd(nn.Module):
    """A network with something that cannot be batched, or not be batched honestly."""

    def __init__(self, inner: nn.Module, kind: str) -> None:
        super().__init__()
        self.inner, self.kind = inner, kind
        self.norm = nn.BatchNorm1d(tiny.DIM) if kind == "statistics" else nn.Identity()

    def forward(self, given: Tensor) -> Tensor:
        if self.kind == "noise":
            given = nn.functional.dropout(given, 0.5, self.training)
        if self.kind == "choice" and float(given.sum()) > 0:
            given = given * 2
        return self.inner(self.norm(given))  # type: ignore[no-any-return]


@pytest.mark.parametrize("kind", ["noise", "choice", "statistics"])
def test_what_cannot_be_batched_is_found_out(kind: str) -> None:
    model = tiny.model()
    assert is_stackable(model, tiny.task(), tiny.accelerator())
    head: Any = model.readout.heads["y"]
    head.network = Odd(head.network, kind)
    before = tiny.weights(model)
    assert not is_stackable(model, tiny.task(), tiny.accelerator())
    assert tiny.apart(before, tiny.weights(model)) == 0


def several(model: Callable[[], ProductModel]) -> list[Member]:
    return [Member(model(), {**tiny.TRAINER, "lr": lr}) for lr in (1e-3, 1e-2)]


def test_outputs_are_weighted() -> None:
    stored = tiny.features()
    targets = {"a": tiny.labels(stored), "b": tiny.labels(stored)}
    specs = {"a": tiny.CLASSES, "b": tiny.CLASSES}
    task = tiny.task(targets=targets, weights={"a": 1.0, "b": 0.0})
    (one, _) = made = several(lambda: tiny.model(targets=specs))
    before = tiny.weights(one.model)
    (after, _) = train(made, task)
    moved = {name for name in before if not torch.equal(before[name], after[name])}
    assert any(".a." in name for name in moved)
    # Weight decay alone moves what no loss does.
    assert not any(".b." in name and "bias" in name for name in moved)


def test_inputs_are_fused() -> None:
    stored = tiny.features()
    task = tiny.task(feed=FeatureFeed({"x": stored, "z": tiny.features(seed=1)}, CPU))
    torch.manual_seed(0)
    from matrixhub.run.model import Readout

    readout = Readout(
        dims={"x": tiny.DIM, "z": tiny.DIM},
        fusion={"name": "core.concat"},
        head={"name": "heads.linear", "label_smoothing": 0.0},
        targets={"y": tiny.CLASSES},
    )
    model = ProductModel({}, {"x": "text", "z": "text"}, readout)
    assert is_stackable(model, task, tiny.accelerator())
    one = Member(model, tiny.TRAINER)
    train([one], task)
    assert one.history.epochs[-1]["loss"] < one.history.epochs[0]["loss"]


def test_features_of_a_step_are_those_of_its_rows() -> None:
    """The first step, by hand."""
    one = member(epochs=1, warmup=0.0, weight_decay=0.0, clip=None, batch_size=44, schedule="constant")
    by_hand = member().model
    task = tiny.task()
    features = Features(torch.from_numpy(tiny.features().pooled_rows(task.train)))
    loss = nn.functional.cross_entropy(by_hand({"x": features})[0]["y"], task.targets["y"][task.train])
    loss.backward()  # type: ignore[no-untyped-call]
    torch.optim.AdamW(by_hand.parameters(), lr=tiny.TRAINER["lr"], weight_decay=0.0).step()
    (found,) = train([one])
    assert one.history.epochs[0]["train_loss"] == pytest.approx(loss.item(), abs=1e-6)
    assert tiny.apart(found, tiny.weights(by_hand)) < 1e-6


class Twice(nn.Module):
    """One dropout module in two places, as many write it."""

    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.first, self.inner, self.drop = nn.Linear(tiny.DIM, tiny.DIM), inner, nn.Dropout(0.2)

    def forward(self, given: Tensor) -> Tensor:
        return self.inner(self.drop(self.first(self.drop(given))))  # type: ignore[no-any-return]


def test_a_dropout_used_twice_is_trained_alone() -> None:
    model = tiny.model()
    head: Any = model.readout.heads["y"]
    head.network = Twice(head.network)
    assert not is_stackable(model, tiny.task(), tiny.accelerator())
