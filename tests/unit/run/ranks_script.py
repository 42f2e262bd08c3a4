"""What ``test_ranks`` starts on two ranks: each case leaves what this rank saw in a folder."""

import json
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from accelerate import Accelerator

from matrixhub.run.feed import FeatureFeed
from matrixhub.run.joint_loop import fit_jointly
from matrixhub.run.loop import Task, fit
from matrixhub.run.model import ProductModel
from matrixhub.run.ranks import each_together, together
from matrixhub.run.stack import Member, fit_stack
from matrixhub.run.worker import leave
from matrixhub.types import Target
from tests.unit.run import tiny

Made = tuple[ProductModel, Task]


def main(folder: Path) -> None:
    rank = int(os.environ["RANK"])
    accelerator = Accelerator(cpu=True)
    for name, (make, changes) in CASES.items():
        seen: dict[str, Any] = {"losses": [], "error": None}
        model, task = make()
        try:
            history = fit(
                model,
                task,
                trainer={**tiny.TRAINER, **changes},
                accelerator=accelerator,
                on_step=lambda step, loss, seen=seen: seen["losses"].append(float(loss)),  # type: ignore[misc]
            )
            seen["epochs"] = history.epochs
        except Exception as error:
            seen["error"] = f"{type(error).__name__}: {error}"
        accelerator.free_memory()
        torch.save(tiny.weights(model), folder / f"{name}-{rank}.pt")
        (folder / f"{name}-{rank}.json").write_text(json.dumps(seen))
    for name, members in STACKS.items():
        made = members()
        fit_stack(made, tiny.task(), monitor="loss", accelerator=accelerator)
        for k, member in enumerate(made):
            torch.save(tiny.weights(member.model), folder / f"{name}{k}-{rank}.pt")
    for name, (changes, balance) in JOINT.items():
        models, tasks = tiny.text_products(balance=balance)
        fit_jointly(models, tasks, trainer={**tiny.JOINT, **changes}, accelerator=accelerator)
        assert accelerator.ddp_handler is None
        accelerator.free_memory()
        for k, model in enumerate(models):
            torch.save(tiny.weights(model), folder / f"{name}{k}-{rank}.pt")
    (folder / f"agree-{rank}.json").write_text(json.dumps(agreements(accelerator, rank)))
    threads = [num_gloo_threads()]
    leave()
    threads.append(num_gloo_threads())
    (folder / f"threads-{rank}.json").write_text(json.dumps(threads))


def num_gloo_threads() -> int:
    """Threads of this process that work for a process group (Linux names them)."""
    return sum("gloo" in path.read_text() for path in Path("/proc/self/task").glob("*/comm"))


def frozen() -> Made:
    return tiny.model(), tiny.task()


def few_rows() -> Made:
    """Three rows on two ranks, one at a time: a rank is left without rows at every step."""
    return tiny.model(), tiny.task(train=np.arange(3), validation=np.arange(44, 45))


def poisoned() -> Made:
    stored = tiny.features()
    targets = tiny.labels(stored).float()
    targets[14] = float("nan")
    task = tiny.task(feed=FeatureFeed({"x": stored}, torch.device("cpu")), targets={"y": targets})
    return tiny.model(targets={"y": Target("regression")}), task


def unreadable() -> Made:
    """Row 14 cannot be tokenized; only the rank that has it in its part of a batch notices."""
    model, task = tiny.text_model()
    task.feed.values["x"][14] = 3.5  # type: ignore[attr-defined]
    return model, task


def unreadable_validation() -> Made:
    model, task = tiny.text_model()
    task.feed.values["x"][50] = 3.5  # type: ignore[attr-defined]
    return model, task


CASES: dict[str, tuple[Callable[[], Made], dict[str, Any]]] = {
    "frozen": (frozen, {}),
    "accumulated": (frozen, {"accumulation": 3}),
    "tuned": (tiny.text_model, {}),
    "grouped": (tiny.mixed_model, {"group_by_length": True}),
    "few": (few_rows, {"batch_size": 1}),
    "poisoned": (poisoned, {}),
    "unreadable": (unreadable, {}),
    "unreadable_validation": (unreadable_validation, {}),
}


def stacked() -> list[Member]:
    """Heads that differ in everything that heads of a stack may differ in, but for noise."""
    changes: list[dict[str, Any]] = [
        {},
        {"lr": 3e-2, "clip": 1e-2},
        {"weight_decay": 0.5, "epochs": 2},
        {"seed": 3},
    ]
    return [Member(tiny.model(), {**tiny.TRAINER, **one}) for one in changes]


JOINT: dict[str, tuple[dict[str, Any], str]] = {
    "jointly": ({}, "fixed"),
    "jointly_in_turn": ({"joint": "round_robin", "accumulation": 2, "weight_decay": 0.5}, "fixed"),
    "jointly_balanced": ({"joint": "temperature"}, "uncertainty"),
}
"""Changes to the trainer, and the balance of the second product."""


STACKS: dict[str, Callable[[], list[Member]]] = {"stacked": stacked}


def agreements(accelerator: Accelerator, rank: int) -> list[str]:
    """What ``together`` and ``each_together`` raise where rank 1 fails, or both do."""
    found = []

    def fail(on: tuple[int, ...]) -> str:
        if rank in on:
            raise ValueError(f"no good on {rank}")
        return "fine"

    for on in ((), (1,), (0, 1)):
        try:
            found.append(together(accelerator, lambda on=on: fail(on)))  # type: ignore[misc]
        except Exception as error:
            found.append(f"{type(error).__name__}: {error}")
    seen = []
    try:
        for item in each_together(accelerator, (fail((1,) if i == 2 else ()) for i in range(4))):
            seen.append(item)
    except Exception as error:
        seen.append(f"{type(error).__name__}: {error}")
    return [*found, *seen]


if __name__ == "__main__":
    main(Path(sys.argv[1]))
