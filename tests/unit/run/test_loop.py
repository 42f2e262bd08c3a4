"""The loop is a plain PyTorch loop: equal to one step for step, and to itself."""

import itertools
import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from matrixhub.data.batching import epoch_batches
from matrixhub.errors import ConfigError, NonFiniteError, TrainingError
from matrixhub.run.feed import FeatureFeed
from matrixhub.run.loop import Task, fit, micro_batches, row_sizes
from matrixhub.run.model import ProductModel
from matrixhub.types import Target
from tests.unit.run import tiny

Made = tuple[ProductModel, Task]


def frozen() -> Made:
    return tiny.model(), tiny.task()


def losses_of(made: Made, **changes: Any) -> list[float]:
    model, task = made
    losses: list[float] = []
    trainer = {**tiny.TRAINER, **changes}
    fit(
        model,
        task,
        trainer=trainer,
        accelerator=tiny.accelerator(),
        on_step=lambda step, loss: losses.append(float(loss)),
    )
    return losses


def by_hand(made: Made, **changes: Any) -> tuple[list[float], dict[str, Tensor]]:
    """What anyone would write: AdamW, cosine after a warm-up, clipping; no accumulation."""
    model, task = made
    trainer = {**tiny.TRAINER, **changes}
    wide = [p for p in model.parameters() if p.ndim > 1]
    narrow = [p for p in model.parameters() if p.ndim <= 1]
    optimizer = torch.optim.AdamW(
        [{"params": wide, "weight_decay": trainer["weight_decay"]}, {"params": narrow, "weight_decay": 0.0}],
        lr=trainer["lr"],
    )
    steps = trainer["epochs"] * math.ceil(len(task.train) / trainer["batch_size"])
    rising = math.ceil(trainer["warmup"] * steps)
    losses: list[float] = []
    best, kept = math.inf, tiny.weights(model)
    for epoch in range(trainer["epochs"]):
        for batch in epoch_batches(len(task.train), batch_size=trainer["batch_size"], seed=0, epoch=epoch):
            step = len(losses)
            done = (step - rising) / (steps - rising)
            factor = (step + 1) / rising if step < rising else 0.5 * (1 + math.cos(math.pi * done))
            for group in optimizer.param_groups:
                group["lr"] = trainer["lr"] * factor
            rows = task.train[batch]
            ((_, inputs),) = task.feed.inputs([rows])
            logits = model(inputs)[0]["y"]
            loss = nn.functional.cross_entropy(logits, task.targets["y"][rows])
            optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            nn.utils.clip_grad_norm_(model.parameters(), trainer["clip"])
            optimizer.step()
            losses.append(loss.item())
        ((_, inputs),) = task.feed.inputs([task.validation])
        with torch.no_grad():
            logits = model(inputs)[0]["y"]
            figure = float(nn.functional.cross_entropy(logits, task.targets["y"][task.validation]))
        if figure < best:
            best, kept = figure, tiny.weights(model)
    return losses, kept


@pytest.mark.parametrize("make", [frozen, tiny.text_model], ids=["frozen", "fine-tuned"])
def test_it_is_a_plain_loop_step_for_step(make: Callable[[], Made]) -> None:
    wanted, kept = by_hand(make())
    model, task = make()
    found = losses_of((model, task))
    assert found == pytest.approx(wanted, abs=1e-6)
    assert tiny.apart(tiny.weights(model), kept) < 1e-6


@pytest.mark.parametrize("make", [frozen, tiny.text_model], ids=["frozen", "fine-tuned"])
def test_accumulation_changes_no_weight(make: Callable[[], Made]) -> None:
    whole, pieces = make(), make()
    assert losses_of(pieces, accumulation=4) == pytest.approx(losses_of(whole), abs=1e-6)
    assert tiny.apart(tiny.weights(whole[0]), tiny.weights(pieces[0])) < 1e-6


def test_accumulation_of_tagged_rows_weighs_by_words() -> None:
    """Rows of one and of many words: a mean of means would be another number."""
    tags = torch.full((6, 5), -100)
    for row, words in enumerate((1, 5, 2, 4, 3, 5)):
        tags[row, :words] = 0
    sizes = row_sizes({"t": tags})
    assert sizes.tolist() == [1, 5, 2, 4, 3, 5]
    micros = micro_batches(
        np.arange(6), {"batch_size": 6, "accumulation": 3, "seed": 0}, epoch=0, sizes=sizes
    )
    assert [m.share for m in micros] == [sizes[m.rows].sum() / 20 for m in micros]
    assert [m.last for m in micros] == [False, False, True]


def test_row_sizes_of_other_tasks_are_all_one() -> None:
    assert row_sizes({"y": torch.zeros(4, 3)}).tolist() == [1, 1, 1, 1]
    assert row_sizes({"y": torch.zeros(4, dtype=torch.long)}).tolist() == [1, 1, 1, 1]


@pytest.mark.parametrize(("rows", "world"), [(44, 2), (44, 3), (2, 4), (1, 2), (17, 2)])
@pytest.mark.parametrize("accumulation", [1, 3])
def test_ranks_share_each_batch_and_count_each_row_once(rows: int, world: int, accumulation: int) -> None:
    trainer = {"batch_size": 16, "accumulation": accumulation, "seed": 0}
    alone = micro_batches(np.arange(rows), trainer, epoch=1)
    ranks = [micro_batches(np.arange(rows), trainer, epoch=1, rank=r, world=world) for r in range(world)]
    assert {len(found) for found in ranks} == {len(alone)}
    for one, *parts in zip(alone, *ranks, strict=True):
        assert {row for part in parts for row in part.rows} == set(one.rows)
        assert all(len(part.rows) for part in parts)
        assert sum(part.share for part in parts) / world == pytest.approx(one.share)
        assert {part.last for part in parts} == {one.last}
        counted = [row for part in parts if part.share for row in part.rows]
        assert sorted(counted) == sorted(one.rows)


def test_shares_of_a_step_add_up_to_one() -> None:
    micros = micro_batches(np.arange(21), {"batch_size": 8, "accumulation": 3, "seed": 0}, epoch=0)
    steps = [0.0]
    for micro in micros:
        steps[-1] += micro.share
        if micro.last:
            steps.append(0.0)
    assert steps == pytest.approx([1, 1, 1, 0])


def test_the_order_of_rows_follows_from_seed_and_epoch_alone() -> None:
    def order(seed: int, epoch: int) -> list[int]:
        trainer = {"batch_size": 7, "accumulation": 1, "seed": seed}
        return [int(r) for micro in micro_batches(np.arange(30), trainer, epoch=epoch) for r in micro.rows]

    first = order(0, 0)
    np.random.rand(3)  # whatever was drawn before
    torch.rand(3)
    assert order(0, 0) == first
    assert sorted(first) == list(range(30))
    different = [order(0, 0), order(0, 1), order(1, 0), order(1, 1)]
    assert all(a != b for a, b in itertools.combinations(different, 2))


def test_a_seed_repeats_bit_for_bit_and_another_differs() -> None:
    runs = []
    for seed in (0, 0, 1):
        torch.manual_seed(seed)
        model = tiny.model(head={"dropout": 0.3})
        torch.manual_seed(seed)
        losses_of((model, tiny.task()), seed=seed)
        runs.append(tiny.weights(model))
    assert tiny.apart(runs[0], runs[1]) == 0
    assert tiny.apart(runs[0], runs[2]) > 1e-4


def test_history_tells_every_epoch() -> None:
    model, task = frozen()
    history = fit(model, task, trainer=tiny.TRAINER, accelerator=tiny.accelerator())
    assert [entry["epoch"] for entry in history.epochs] == [1, 2, 3]
    assert history.num_steps == 9
    assert set(history.epochs[0]) == {"epoch", "train_loss", "loss", "y.accuracy", "y.macro_f1"}
    assert not model.training


def test_training_stops_early_and_the_best_weights_stay() -> None:
    """A rate that is far too high: it gets worse after the first epochs."""
    model, task = frozen()
    trainer = {**tiny.TRAINER, "epochs": 40, "lr": 3.0, "schedule": "constant", "patience": 2}
    history = fit(model, task, trainer=trainer, accelerator=tiny.accelerator())
    losses = [entry["loss"] for entry in history.epochs]
    assert history.best_epoch == 1 + losses.index(min(losses))
    assert len(losses) == history.best_epoch + 2 < 40
    ((_, inputs),) = task.feed.inputs([task.validation])
    with torch.no_grad():
        loss = nn.functional.cross_entropy(model(inputs)[0]["y"], task.targets["y"][task.validation])
    assert float(loss) == pytest.approx(min(losses), abs=1e-6)


def test_a_metric_can_be_monitored_higher_is_better() -> None:
    model, task = frozen()
    trainer = {**tiny.TRAINER, "epochs": 12, "monitor": "y.accuracy"}
    history = fit(model, task, trainer=trainer, accelerator=tiny.accelerator())
    scores = [entry["y.accuracy"] for entry in history.epochs]
    assert scores[0] < max(scores)
    assert history.best_epoch == 1 + scores.index(max(scores))


def test_an_unknown_figure_is_refused_before_the_first_step() -> None:
    model, task = frozen()
    before = tiny.weights(model)
    with pytest.raises(ConfigError, match=r"monitor=y\.acuracy.*loss, y\.accuracy, y\.macro_f1, train_loss"):
        losses_of((model, task), monitor="y.acuracy")
    assert tiny.apart(before, tiny.weights(model)) == 0


def test_without_validation_rows_the_training_loss_is_monitored() -> None:
    model, task = tiny.model(), tiny.task(validation=np.arange(0))
    history = fit(model, task, trainer=tiny.TRAINER, accelerator=tiny.accelerator())
    assert set(history.epochs[0]) == {"epoch", "train_loss"}
    losses = [entry["train_loss"] for entry in history.epochs]
    assert history.best_epoch == 1 + losses.index(min(losses))
    with pytest.raises(ConfigError, match=r"y\.accuracy is measured on validation rows.*has none"):
        losses_of((tiny.model(), task), monitor="y.accuracy")


def test_gradients_are_clipped_to_their_global_norm() -> None:
    original = torch.optim.AdamW.step
    norms = {}
    for clip in (None, 1e-3):
        model, task = frozen()
        gradients: list[Tensor] = []

        def step(self: Any, *args: Any, kept: list[Tensor] = gradients, **kwargs: Any) -> Any:
            kept += [p.grad.flatten().clone() for g in self.param_groups for p in g["params"]]
            return original(self, *args, **kwargs)

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(torch.optim.AdamW, "step", step)
            losses_of((model, task), epochs=1, batch_size=44, clip=clip)
        norms[clip] = float(torch.cat(gradients).norm())
    assert norms[None] > 0.1
    assert norms[1e-3] == pytest.approx(1e-3, rel=1e-3)


def test_bf16_mixed_precision_trains_and_leaves_fp32_behind() -> None:
    plain, mixed = frozen(), frozen()
    wanted = losses_of(plain)
    found: list[float] = []
    fit(
        *mixed,
        trainer=tiny.TRAINER,
        accelerator=tiny.accelerator("bf16"),
        on_step=lambda step, loss: found.append(float(loss)),
    )
    assert found != wanted
    assert found == pytest.approx(wanted, abs=0.05)
    model, task = mixed
    fresh = tiny.model().eval()
    fresh.load_state_dict(model.state_dict())
    ((_, inputs),) = task.feed.inputs([task.validation])
    with torch.no_grad():
        outputs, wanted_outputs = model(inputs)[0]["y"], fresh(inputs)[0]["y"]
    assert torch.equal(outputs, wanted_outputs)


def poisoned(where: str) -> Made:
    """Row 14 (counted from 0) of the table has a number that is none."""
    stored = tiny.features()
    targets = tiny.labels(stored).float()
    if where == "target":
        targets[14] = math.nan
    elif where == "feature":
        stored.data[14, 3] = math.inf
    else:
        targets[14] = 1e30  # the square of it is infinite
    task = tiny.task(feed=FeatureFeed({"x": stored}, torch.device("cpu")), targets={"y": targets})
    return tiny.model(targets={"y": Target("regression")}), task


@pytest.mark.parametrize("where", ["target", "feature", "loss"])
@pytest.mark.parametrize("accumulation", [1, 4])
def test_a_number_that_is_none_stops_before_the_step_and_names_the_row(where: str, accumulation: int) -> None:
    """Reliability row 14."""
    model, task = poisoned(where)
    before = tiny.weights(model)
    with pytest.raises(NonFiniteError, match=r"at row 15; no step was taken"):
        losses_of((model, task), batch_size=44, accumulation=accumulation)
    assert tiny.apart(before, tiny.weights(model)) == 0


def test_no_step_is_taken_on_a_bad_gradient_of_a_finite_loss() -> None:
    """No row does it alone: the whole batch is named, shortened to twenty rows."""
    model, task = frozen()
    before = tiny.weights(model)
    weight: Any = next(model.parameters())
    weight.register_hook(lambda gradient: gradient * math.nan)
    with pytest.raises(NonFiniteError, match=r"at the batch of rows 1, 2, 3, .* 20; no step") as caught:
        losses_of((model, task), batch_size=44)
    assert "21" not in str(caught.value)
    assert tiny.apart(before, tiny.weights(model)) == 0


def test_a_figure_that_is_never_a_number_is_an_error() -> None:
    model, task = frozen()
    head: Any = model.readout.heads["y"]
    head.task.metrics = lambda outputs, targets: {"accuracy": math.nan, "macro_f1": 0.0}
    with pytest.raises(TrainingError, match="never a finite number"):
        losses_of((model, task), monitor="y.accuracy")


def test_a_weighted_sum_of_outputs_is_trained() -> None:
    stored = tiny.features()
    targets = {"a": tiny.labels(stored), "b": tiny.labels(stored)}
    specs = {"a": tiny.CLASSES, "b": tiny.CLASSES}
    seen: dict[float, float] = {}
    for weight in (0.0, 1.0):
        model = tiny.model(targets=specs)
        before = tiny.weights(model.readout.heads["b"])
        losses_of(
            (model, tiny.task(targets=targets, weights={"a": 1.0, "b": weight})), weight_decay=0.0, epochs=1
        )
        seen[weight] = tiny.apart(before, tiny.weights(model.readout.heads["b"]))
    assert seen[0.0] == 0
    assert seen[1.0] > 1e-3
