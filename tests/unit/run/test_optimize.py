"""Schedules against their closed formulas; which weights decay, and at which rate they learn."""

import math
from typing import Any

import pytest
import torch
from torch import nn

from matrixhub.run.optimize import learning_rate_factor, make_optimizer, make_schedule, parameter_groups
from tests.unit.run import tiny

STEPS = 40


@pytest.mark.parametrize("warmup", [0.0, 0.1, 0.5])
@pytest.mark.parametrize("schedule", ["constant", "linear", "cosine"])
def test_the_rate_follows_its_formula(schedule: str, warmup: float) -> None:
    rising = math.ceil(warmup * STEPS)
    after: Any = {
        "constant": lambda t: 1.0,
        "linear": lambda t: 1.0 - t,
        "cosine": lambda t: (1 + math.cos(math.pi * t)) / 2,
    }[schedule]
    wanted = [
        (s + 1) / rising if s < rising else after((s - rising) / (STEPS - rising)) for s in range(STEPS)
    ]
    found = [learning_rate_factor(s, num_steps=STEPS, warmup=warmup, schedule=schedule) for s in range(STEPS)]
    assert found == pytest.approx(wanted, abs=1e-12)
    assert all(0 < factor <= 1 for factor in found)
    assert max(found) == 1


@pytest.mark.parametrize("schedule", ["linear", "cosine"])
def test_the_rate_ends_at_zero_and_stays_there(schedule: str) -> None:
    for step in (STEPS, STEPS + 5):
        factor = learning_rate_factor(step, num_steps=STEPS, warmup=0.1, schedule=schedule)
        assert factor == pytest.approx(0, abs=1e-12)


def test_a_single_step_has_a_rate() -> None:
    assert learning_rate_factor(0, num_steps=1, warmup=0.1, schedule="cosine") == 1


def test_the_optimizer_learns_at_the_scheduled_rate() -> None:
    model = tiny.model()
    optimizer = make_optimizer(model, tiny.TRAINER)
    schedule = make_schedule(optimizer, tiny.TRAINER, STEPS)
    for step in range(3):
        factor = learning_rate_factor(step, num_steps=STEPS, warmup=0.1, schedule="cosine")
        assert optimizer.param_groups[0]["lr"] == pytest.approx(tiny.TRAINER["lr"] * factor)
        optimizer.step()
        schedule.step()


def test_matrices_decay_and_biases_and_norms_do_not() -> None:
    model = nn.Sequential(nn.Linear(4, 3), nn.LayerNorm(3))
    groups = {group["weight_decay"]: group["params"] for group in parameter_groups(model, tiny.TRAINER)}
    assert [tuple(p.shape) for p in groups[tiny.TRAINER["weight_decay"]]] == [(3, 4)]
    assert [tuple(p.shape) for p in groups[0.0]] == [(3,), (3,), (3,)]


def test_frozen_parameters_are_left_out() -> None:
    model = nn.Linear(4, 3)
    model.bias.requires_grad_(False)
    assert [len(group["params"]) for group in parameter_groups(model, tiny.TRAINER)] == [1]


def test_the_encoder_has_its_own_rate() -> None:
    model, _ = tiny.text_model()
    own = {"encoder_lr": 1e-5, "lr": 1e-2}
    rates = {
        id(p): group["lr"]
        for group in parameter_groups(model, {**tiny.TRAINER, **own})
        for p in group["params"]
    }
    assert {rates[id(p)] for p in model.encoders.parameters()} == {1e-5}
    assert {rates[id(p)] for p in model.readout.parameters()} == {1e-2}
    shared = parameter_groups(model, tiny.TRAINER)
    assert {group["lr"] for group in shared} == {tiny.TRAINER["lr"]}


def test_every_parameter_is_in_one_group() -> None:
    model, _ = tiny.text_model()
    found = [id(p) for group in parameter_groups(model, tiny.TRAINER) for p in group["params"]]
    assert sorted(found) == sorted(id(p) for p in model.parameters())
    assert len(found) == len(set(found)) > 0
    assert all(isinstance(p, torch.nn.Parameter) for p in model.parameters())
