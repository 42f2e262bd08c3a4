"""Losses of several outputs: weighted by the config, and by what is learned of them."""

import math
from pathlib import Path

import pytest
import torch
from torch import Tensor

import matrixhub as mh
from matrixhub.run.loop import Task, fit
from matrixhub.run.model import ProductModel, Readout, balanced
from matrixhub.run.stack import Member, fit_stack, is_stackable
from matrixhub.types import Target
from tests.toys import FAST, record_of, run_toy
from tests.unit.run import tiny

NOISE = {"low": 0.1, "high": 3.0}


def numbers() -> tuple[ProductModel, Task]:
    """Two numbers to be learned from the same features, one of which is mostly noise."""
    stored, drawn = tiny.features(), torch.Generator().manual_seed(0)
    said = torch.from_numpy(stored.data[:, 0])
    targets = {name: said + size * torch.randn(tiny.ROWS, generator=drawn) for name, size in NOISE.items()}
    torch.manual_seed(0)
    readout = Readout(
        dims={"x": tiny.DIM},
        fusion=None,
        head={"name": "heads.linear", "label_smoothing": 0.0},
        targets=dict.fromkeys(NOISE, Target("regression")),
        balance="uncertainty",
    )
    model = ProductModel({}, {"x": "text"}, readout)
    return model, tiny.task(targets=targets, weights={"low": 1.0, "high": 1.0})


def log_variances(model: ProductModel) -> Tensor:
    found = model.readout.log_variances
    assert found is not None
    return found.detach()


def test_the_sum_is_weighted_and_what_is_learned_goes_beside() -> None:
    losses = {"a": torch.tensor(2.0), "b": torch.tensor(5.0)}
    weights = {"b": 10.0, "a": 1.0}
    assert float(balanced(losses, weights, None)) == 52.0
    learned = torch.tensor([math.log(4.0), 0.0])
    assert float(balanced(losses, weights, learned)) == pytest.approx(2 / 4 + math.log(4) / 2 + 50.0)


def test_each_loss_comes_to_weigh_half_the_inverse_of_its_size() -> None:
    model, task = numbers()
    trainer = {**tiny.TRAINER, "epochs": 300, "lr": 0.03, "schedule": "constant", "weight_decay": 0.0}
    history = fit(model, task, trainer={**trainer, "monitor": "train_loss"}, accelerator=tiny.accelerator())
    assert history.epochs[-1]["train_loss"] < history.epochs[0]["train_loss"]
    index = torch.from_numpy(task.train)
    outputs, _ = model(next(task.feed.inputs([task.train]))[1])
    for place, name in enumerate(NOISE):
        loss = model.readout.head(name).loss(outputs[name], task.targets[name][index])
        assert float(loss.detach() * torch.exp(-log_variances(model)[place])) == pytest.approx(0.5, rel=0.25)
    low, high = log_variances(model).tolist()
    assert high - low > 3


def test_a_stack_learns_the_same_as_the_loop_does() -> None:
    (alone, task), (first, _), (second, _) = numbers(), numbers(), numbers()
    accelerator = tiny.accelerator()
    assert is_stackable(alone, task, accelerator)
    members = [Member(first, tiny.TRAINER), Member(second, {**tiny.TRAINER, "lr": 0.1})]
    fit_stack(members, task, monitor="loss", accelerator=accelerator)
    fit(alone, task, trainer=tiny.TRAINER, accelerator=accelerator)
    assert tiny.apart(tiny.weights(first), tiny.weights(alone)) < 1e-5
    assert not torch.equal(log_variances(first), log_variances(second))
    assert log_variances(alone).abs().max() > 0


@pytest.mark.parametrize("trainer", ["frozen", "finetune"])
def test_a_record_says_what_was_learned_and_the_artifact_loads(tmp_path: Path, trainer: str) -> None:
    options = [f"trainer={trainer}", *FAST, "trainer.epochs=3", "trainer.balance=uncertainty"]
    run = run_toy(tmp_path, "product=several", "head=linear", *options)
    record = record_of(run, "several")
    assert record["status"] == "done", record["error"]
    (note,) = [note for note in record["notes"] if note.startswith("Learned weights")]
    assert all(f" {name} " in note for name in ("label", "score", "topics"))
    assert set(mh.load(record["artifact"])("a tiny red car")) == {"label", "score", "topics"}


def test_with_one_output_there_is_nothing_to_balance() -> None:
    balances = "trainer.balance=fixed,uncertainty"
    assert len(mh.plan(["product=toy", "encoder/text=hash", balances], multirun=True).cells) == 1
    with pytest.raises(mh.ConfigError, match=r"trainer\.balance"):
        mh.plan(["product=toy", "encoder/text=hash", "trainer.balance=certainty",
                 "+product.outputs={other:{task:regression,target:score}}"])  # fmt: skip
