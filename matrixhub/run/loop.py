"""The training loop: plain PyTorch on Accelerate, nothing hidden.

Every process walks the same global batches and takes its own part of each, so the numbers in the
trainer config mean the same on one process and on many.
"""

import contextlib
import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from accelerate import Accelerator
from accelerate.utils import gather_object
from torch import Tensor, nn

from matrixhub.data.batching import epoch_batches, shard
from matrixhub.errors import ConfigError, NonFiniteError
from matrixhub.run.evaluate import evaluate, match_targets
from matrixhub.run.feed import Feed, Rows
from matrixhub.run.model import Outputs, ProductModel, balanced
from matrixhub.run.monitor import LOSS, TRAIN_LOSS, Best, figures, require_figure
from matrixhub.run.optimize import make_optimizer, make_schedule
from matrixhub.run.ranks import each_together, together

Sizes = np.ndarray[Any, np.dtype[np.float64]]
OnStep = Callable[[int, Tensor], None]
OnEpoch = Callable[[Mapping[str, Any]], None]

_FEW_ROWS = 4
"""Validation rows scored before training, only to learn which figures there will be."""


@dataclass(slots=True)
class Task:
    """Everything that a model is trained and scored on.

    Attributes:
        feed: its inputs.
        targets: encoded targets of all rows of the table, by output; tags padded with -100.
        weights: of each output's loss.
        train, validation: row positions; without validation rows the training loss takes their place.
    """

    feed: Feed
    targets: Mapping[str, Tensor]
    weights: Mapping[str, float]
    train: Rows
    validation: Rows


@dataclass(slots=True)
class History:
    """What happened: one entry an epoch, and which one was kept."""

    epochs: list[dict[str, Any]] = field(default_factory=list)
    best_epoch: int = 0
    num_steps: int = 0


@dataclass(frozen=True, slots=True)
class Micro:
    """This rank's rows of one forward and backward pass.

    Attributes:
        rows: positions in the table.
        share: weight that makes the sum over micro-batches and the mean over ranks the mean over the
            global batch.
        last: whether an optimizer step follows.
    """

    rows: Rows
    share: float
    last: bool


def micro_batches(
    rows: Rows,
    trainer: Mapping[str, Any],
    *,
    epoch: int,
    sizes: Sizes | None = None,
    lengths: Rows | None = None,
    rank: int = 0,
    world: int = 1,
) -> list[Micro]:
    """One epoch of training rows, shuffled, cut into optimizer steps, micro-batches and this rank's part.

    Args:
        rows: positions of the training rows.
        trainer: as in ``TrainerConfig``.
        epoch: from 0.
        sizes: how much each row of the table counts in the mean loss of a batch; None for all the same.
        lengths: cost of each of ``rows``, to put those of like cost into one batch; None does without.
        rank, world: which part of how many.
    """
    found = []
    sizes = np.ones(int(rows.max(initial=0)) + 1) if sizes is None else sizes
    batches = epoch_batches(
        len(rows), batch_size=trainer["batch_size"], seed=trainer["seed"], epoch=epoch, lengths=lengths
    )
    for batch in batches:
        pieces = [rows[piece] for piece in np.array_split(batch, trainer["accumulation"]) if len(piece)]
        whole = max(float(sizes[rows[batch]].sum()), 1.0)
        for i, piece in enumerate(pieces):
            mine = shard(piece, rank, world)
            # A rank left without rows repeats one, for company; it must not count twice.
            counted = 0.0 if rank >= len(piece) else float(sizes[mine].sum())
            found.append(Micro(mine, counted * world / whole, last=i == len(pieces) - 1))
    return found


def row_sizes(targets: Mapping[str, Tensor]) -> Sizes:
    """How many targets each row brings to the mean loss: its words where it has tags, else one; (N,)."""
    for encoded in targets.values():
        if encoded.ndim == 2 and not encoded.is_floating_point():
            sizes: Sizes = (encoded != -100).sum(dim=1).double().numpy()
            return sizes
    return np.ones(len(next(iter(targets.values()))))


def fit(
    model: ProductModel,
    task: Task,
    *,
    trainer: Mapping[str, Any],
    accelerator: Accelerator,
    on_step: OnStep = lambda step, loss: None,
    on_epoch: OnEpoch = lambda entry: None,
) -> History:
    """Train the parameters that require gradients; the model ends with its best weights, in eval mode.

    Args:
        model: on any device; it is moved to the accelerator's.
        task: rows and targets.
        trainer: as in ``TrainerConfig``.
        accelerator: of this process.
        on_step: told the step's number and mean loss (a tensor on the device: reading it waits for it).
        on_epoch: told the figures of each epoch.

    Raises:
        NonFiniteError: a loss or gradient is NaN or infinite; names the rows; no step was taken.
        ConfigError: ``trainer.monitor`` names no figure of this product.
    """
    model.to(accelerator.device)
    best = Best(model, checked_monitor(model, task, trainer["monitor"], accelerator))
    optimizer = make_optimizer(model, trainer)
    per_epoch = math.ceil(len(task.train) / trainer["batch_size"])
    schedule = make_schedule(optimizer, trainer, per_epoch * trainer["epochs"])
    wrapped, prepared = accelerator.prepare(model, optimizer)
    sizes = row_sizes(task.targets)
    lengths = together(accelerator, lambda: None if model.is_light else train_lengths(task, trainer))
    rank, world = accelerator.process_index, accelerator.num_processes
    history = History()
    for epoch in range(trainer["epochs"]):
        micros = micro_batches(
            task.train, trainer, epoch=epoch, sizes=sizes, lengths=lengths, rank=rank, world=world
        )
        steps = train_steps(wrapped, prepared, task, micros, clip=trainer["clip"], accelerator=accelerator)
        wrapped.train()
        total = torch.zeros((), device=accelerator.device)
        for loss in steps:
            schedule.step()
            total += loss
            history.num_steps += 1
            on_step(history.num_steps, loss)
        entry = {"epoch": epoch + 1, "train_loss": float(total) / per_epoch}
        entry |= validated(model, task, accelerator) if len(task.validation) else {}
        history.epochs.append(entry)
        on_epoch(entry)
        best.look(entry)
        if trainer["patience"] and epoch + 1 - best.epoch >= trainer["patience"]:
            break
    # Takes off what mixed precision put around the forward pass: scores are those of the saved weights.
    accelerator.unwrap_model(wrapped, keep_fp32_wrapper=False)
    history.best_epoch = best.restore()
    return history


def train_steps(
    model: nn.Module,
    optimizer: Any,
    task: Task,
    micros: list[Micro],
    *,
    clip: float | None,
    accelerator: Accelerator,
) -> Iterator[Tensor]:
    """One optimizer step for each run of micro-batches; yields its mean loss over all ranks, detached.

    Raises:
        NonFiniteError: before the step that would have been taken.
    """
    plain: Any = accelerator.unwrap_model(model)
    scaled = accelerator.scaler is not None
    step_loss = torch.zeros((), device=accelerator.device)
    step_rows: list[Rows] = []
    feed = each_together(accelerator, task.feed.inputs(m.rows for m in micros))
    for micro, (rows, inputs) in zip(micros, feed, strict=True):
        with contextlib.nullcontext() if micro.last else accelerator.no_sync(model):
            loss = _loss(plain.readout, model(inputs), task, rows) * micro.share
            accelerator.backward(loss)
        step_loss = step_loss + loss.detach()
        step_rows.append(rows)
        if not micro.last:
            continue
        if accelerator.num_processes > 1:
            step_loss = accelerator.reduce(step_loss, "mean")
        norm = accelerator.clip_grad_norm_(model.parameters(), math.inf if clip is None else clip)
        # Under fp16 the scaler expects infinite gradients now and then, and skips those steps itself.
        watched = step_loss if scaled or norm is None else step_loss + norm
        if not torch.isfinite(watched):
            raise NonFiniteError(name_rows(plain, task, np.concatenate(step_rows), accelerator))
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        yield step_loss
        step_loss, step_rows = torch.zeros_like(step_loss), []


def _loss(readout: Any, answer: tuple[Outputs, Tensor | None], task: Task, rows: Rows) -> Tensor:
    """Weighted sum of the outputs' losses; words that were cut off teach nothing."""
    outputs, mask_BT = answer
    index = torch.from_numpy(rows)
    losses = {}
    for name, output in outputs.items():
        targets = match_targets(task.targets[name][index].to(output.device, non_blocking=True), output)
        if mask_BT is not None and output.ndim == 3:
            targets = targets.masked_fill(~mask_BT, -100)
        losses[name] = readout.heads[name].loss(output, targets)
    return balanced(losses, task.weights, getattr(readout, "log_variances", None))


@torch.no_grad()
def name_rows(model: ProductModel, task: Task, rows: Rows, accelerator: Accelerator) -> str:
    """Which rows made the loss non-finite, found one by one; all of the batch when none does alone."""
    model.eval()
    bad = [
        int(row[0])
        for row, inputs in task.feed.inputs(rows[i : i + 1] for i in range(len(rows)))
        if not torch.isfinite(_loss(model.readout, model(inputs), task, row))
    ]
    found, batch = [bad], [rows.tolist()]
    if accelerator.num_processes > 1:
        found, batch = gather_object(found), gather_object(batch)
    alone, all_rows = {row for part in found for row in part}, {row for part in batch for row in part}
    named = ", ".join(str(row + 1) for row in sorted(alone or all_rows)[:20])
    place = f"row {named}" if alone else f"the batch of rows {named}"
    return (
        f"The loss or its gradient is not a finite number at {place}; no step was taken on it. "
        "Look at these rows, or lower trainer.lr, or set trainer.clip."
    )


def train_lengths(task: Task, trainer: Mapping[str, Any]) -> Rows | None:
    """Cost of each training row, where grouping by it is wanted and saves anything."""
    return task.feed.lengths(task.train) if trainer["group_by_length"] else None


def validated(model: ProductModel, task: Task, accelerator: Accelerator) -> dict[str, float]:
    """Figures on the validation rows."""
    return figures(
        evaluate(model, task.feed, task.targets, task.validation, accelerator=accelerator), task.weights
    )


def checked_monitor(model: ProductModel, task: Task, name: str, accelerator: Accelerator) -> str:
    """The figure to watch, known to exist before the first step.

    Without validation rows there is only the training loss; asking for any other is an error.
    """
    if not len(task.validation):
        if name not in (LOSS, TRAIN_LOSS):
            raise ConfigError(
                f"trainer.monitor={name} is measured on validation rows, and this split has none: give it "
                "some with product.split.fractions, or leave trainer.monitor=loss (then of training)."
            )
        return TRAIN_LOSS
    if name not in (LOSS, TRAIN_LOSS):
        few = task.validation[:_FEW_ROWS]
        scores = evaluate(model, task.feed, task.targets, few, accelerator=accelerator)
        require_figure(name, figures(scores, task.weights))
    return name
