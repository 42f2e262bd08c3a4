"""Several products trained on one trunk: whose turn it is, one module of them all, and the loop."""

import contextlib
import itertools
import math
from collections.abc import Callable, Generator, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from accelerate import Accelerator
from accelerate.utils import DistributedDataParallelKwargs
from torch import Tensor, nn

from matrixhub.run.loop import (
    History,
    Task,
    checked_monitor,
    micro_batches,
    row_sizes,
    train_lengths,
    train_steps,
    validated,
)
from matrixhub.run.model import Outputs, ProductModel, Readout
from matrixhub.run.monitor import LOSS, Best, lower_is_better
from matrixhub.run.optimize import make_optimizer, make_schedule
from matrixhub.run.ranks import together

Named = Callable[[int], contextlib.AbstractContextManager[None]]


def turns(batches: Sequence[int], trainer: Mapping[str, Any]) -> list[int]:
    """How many steps each product takes in one joint epoch, which has about as many as their own epochs.

    Args:
        batches: of an epoch of each product alone.
        trainer: as in ``TrainerConfig``.
    """
    total = sum(batches)
    if trainer["joint"] == "proportional":
        return list(batches)
    if trainer["joint"] == "round_robin":
        return [math.ceil(total / len(batches))] * len(batches)
    powers = np.asarray(batches, dtype=np.float64) ** (1 / trainer["joint_temperature"])
    exact = total * powers / powers.sum()
    counts = np.floor(exact).astype(np.int64)
    # Largest remainders first.
    counts[np.argsort(counts - exact, kind="stable")[: total - int(counts.sum())]] += 1
    return [max(int(count), 1) for count in counts]


def turn_order(counts: Sequence[int], trainer: Mapping[str, Any], *, epoch: int) -> list[int]:
    """Whose turn it is at each step of an epoch; the same on all ranks."""
    if trainer["joint"] == "round_robin":
        return list(range(len(counts))) * counts[0]
    drawn = np.random.default_rng([trainer["seed"], epoch])
    return [int(place) for place in drawn.permutation(np.repeat(np.arange(len(counts)), counts))]


class JointModel(nn.Module):
    """Products as one module: each encoder once, and the readout of each. One of them answers at a time.

    Args:
        members: whose encoders of one modality are the same module.
    """

    def __init__(self, members: Sequence[ProductModel]) -> None:
        super().__init__()
        encoders = {m: encoder for member in members for m, encoder in member.encoders.items()}
        self.encoders = nn.ModuleDict(encoders)
        self.readouts = nn.ModuleList(member.readout for member in members)
        self._members = tuple(members)  # hidden from nn.Module, which has their parts
        self._turn = 0

    @property
    def readout(self) -> Readout:
        """Of the product whose turn it is."""
        return self._members[self._turn].readout

    def turn_to(self, place: int) -> None:
        """Let that product answer."""
        self._turn = place

    def forward(self, inputs: Mapping[str, Any]) -> tuple[Outputs, Tensor | None]:
        """As the product whose turn it is."""
        outputs, mask = self._members[self._turn](inputs)
        log_variances = self.readout.log_variances
        if log_variances is not None:
            # Only the loss reads them; DistributedDataParallel would take them for unused.
            outputs = {name: output + 0.0 * log_variances.sum() for name, output in outputs.items()}
        return outputs, mask


def fit_jointly(
    members: Sequence[ProductModel],
    tasks: Sequence[Task],
    *,
    trainer: Mapping[str, Any],
    accelerator: Accelerator,
    named: Named = lambda place: contextlib.nullcontext(),
    on_step: Callable[[Tensor], None] = lambda loss: None,
) -> list[History]:
    """Train products that share encoders; all end with the weights of one epoch, their parts in eval mode.

    The best epoch has the best mean, over the products, of what ``trainer.monitor`` names.

    Args:
        members, tasks: models, and rows and targets, by product.
        trainer: as in ``TrainerConfig``; of all of them.
        accelerator: of this process.
        named: goes around what concerns one product, to name it in errors.
        on_step: told the mean loss of each step, on the device.

    Raises:
        NonFiniteError, ConfigError: as ``fit``.
    """
    model = JointModel(members).to(accelerator.device)
    watched = []
    for place, one in enumerate(zip(members, tasks, strict=True)):
        with named(place):
            watched.append(checked_monitor(*one, trainer["monitor"], accelerator))
    counts = turns([math.ceil(len(task.train) / trainer["batch_size"]) for task in tasks], trainer)
    optimizer = make_optimizer(model, trainer)
    schedule = make_schedule(optimizer, trainer, sum(counts) * trainer["epochs"])
    best, histories = Best(model, LOSS), [History() for _ in members]
    wrapped, prepared = _prepared(model, optimizer, accelerator)
    with contextlib.ExitStack() as stack:
        # Closed in the end: rows that are read ahead hold threads.
        steps = [_steps(wrapped, prepared, task, trainer=trainer, accelerator=accelerator) for task in tasks]
        runs = [stack.enter_context(contextlib.closing(one)) for one in steps]
        for epoch in range(trainer["epochs"]):
            wrapped.train()
            totals = [torch.zeros((), device=accelerator.device) for _ in members]
            for place in turn_order(counts, trainer, epoch=epoch):
                model.turn_to(place)
                with named(place):
                    loss = next(runs[place])
                schedule.step()
                totals[place] += loss
                on_step(loss)
            for place, (member, task, history) in enumerate(zip(members, tasks, histories, strict=True)):
                entry = {"epoch": epoch + 1, "train_loss": float(totals[place]) / counts[place]}
                with named(place):
                    entry |= validated(member, task, accelerator) if len(task.validation) else {}
                history.epochs.append(entry)
                history.num_steps += counts[place]
            best.look({"epoch": epoch + 1, LOSS: _mean(members, watched, histories)})
            if trainer["patience"] and epoch + 1 - best.epoch >= trainer["patience"]:
                break
    # Takes off what mixed precision put around the forward pass.
    accelerator.unwrap_model(wrapped, keep_fp32_wrapper=False)
    return _kept(best, histories)


def _prepared(model: JointModel, optimizer: Any, accelerator: Accelerator) -> tuple[Any, Any]:
    """Both as Accelerate wraps them, where readouts may have no gradient."""
    before = accelerator.ddp_handler
    accelerator.ddp_handler = DistributedDataParallelKwargs(find_unused_parameters=True)
    try:
        wrapped, prepared = accelerator.prepare(model, optimizer)
    finally:
        accelerator.ddp_handler = before
    return wrapped, prepared


def _steps(
    wrapped: nn.Module, optimizer: Any, task: Task, *, trainer: Mapping[str, Any], accelerator: Accelerator
) -> Generator[Tensor]:
    """Steps of one product, epoch after epoch of its own, without end."""
    sizes = row_sizes(task.targets)
    lengths = together(accelerator, lambda: train_lengths(task, trainer))
    rank, world = accelerator.process_index, accelerator.num_processes
    for epoch in itertools.count():
        micros = micro_batches(
            task.train, trainer, epoch=epoch, sizes=sizes, lengths=lengths, rank=rank, world=world
        )
        yield from train_steps(
            wrapped, optimizer, task, micros, clip=trainer["clip"], accelerator=accelerator
        )


def _mean(members: Sequence[ProductModel], watched: Sequence[str], histories: Sequence[History]) -> float:
    """Of what is watched of each product in its last epoch; smaller is better."""
    figures = [
        history.epochs[-1][name] * (1 if lower_is_better(member, name) else -1)
        for member, name, history in zip(members, watched, histories, strict=True)
    ]
    return float(sum(figures) / len(figures))


def _kept(best: Best, histories: Sequence[History]) -> list[History]:
    """The best weights restored, and noted in each history."""
    epoch = best.restore()
    for history in histories:
        history.best_epoch = epoch
    return list(histories)
