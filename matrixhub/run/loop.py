"""The training loop: plain PyTorch on Accelerate, nothing hidden.

Every process walks the same global batches and takes its own part of each, so the numbers in the
trainer config mean the same on one process and on many.
"""

import contextlib
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from accelerate import Accelerator
from torch import Tensor, nn

from matrixhub.data.batching import epoch_batches, shard
from matrixhub.errors import ConfigError, NonFiniteError, TrainingError
from matrixhub.run.evaluate import Scores, evaluate, match_targets
from matrixhub.run.feed import Feed, Rows
from matrixhub.run.model import Outputs, ProductModel
from matrixhub.run.optimize import make_optimizer, make_schedule


@dataclass(slots=True)
class Task:
    """Everything that a model is trained and scored on.

    Attributes:
        feed: its inputs.
        targets: encoded targets of all rows of the table, by output; tags padded with -100.
        weights: of each output's loss.
        train, validation: row positions.
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
    rows: Rows, trainer: Mapping[str, Any], *, epoch: int, rank: int = 0, world: int = 1
) -> list[Micro]:
    """One epoch of training rows, shuffled, cut into optimizer steps, micro-batches and this rank's part."""
    found = []
    batches = epoch_batches(
        len(rows), batch_size=trainer["batch_size"], seed=trainer["seed"], epoch=epoch, shuffle=True
    )
    for batch in batches:
        pieces = [rows[piece] for piece in np.array_split(batch, trainer["accumulation"]) if len(piece)]
        for i, piece in enumerate(pieces):
            mine = shard(piece, rank, world)
            found.append(Micro(mine, len(mine) * world / len(batch), last=i == len(pieces) - 1))
    return found


OnStep = Callable[[int, Tensor], None]
OnEpoch = Callable[[dict[str, Any]], None]


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
    optimizer = make_optimizer(model, trainer)
    per_epoch = math.ceil(len(task.train) / trainer["batch_size"])
    schedule = make_schedule(optimizer, trainer, per_epoch * trainer["epochs"])
    wrapped, prepared = accelerator.prepare(model, optimizer)
    history, best, kept = History(), math.inf, None
    for epoch in range(trainer["epochs"]):
        micros = micro_batches(
            task.train,
            trainer,
            epoch=epoch,
            rank=accelerator.process_index,
            world=accelerator.num_processes,
        )
        wrapped.train()
        total = torch.zeros((), device=accelerator.device)
        for loss in train_steps(
            wrapped, prepared, task, micros, clip=trainer["clip"], accelerator=accelerator
        ):
            schedule.step()
            total += loss
            history.num_steps += 1
            on_step(history.num_steps, loss)
        scores = evaluate(model, task.feed, task.targets, task.validation, accelerator=accelerator)
        entry = {"epoch": epoch + 1, "train_loss": float(total) / per_epoch, **_figures(scores, task.weights)}
        history.epochs.append(entry)
        on_epoch(entry)
        figure = _monitored(entry, trainer["monitor"], model)
        if figure < best:
            best, history.best_epoch, kept = figure, epoch + 1, _trained_state(model)
        if trainer["patience"] and epoch + 1 - history.best_epoch >= trainer["patience"]:
            break
    if kept is None:
        raise TrainingError(
            f"trainer.monitor={trainer['monitor']} was never a finite number; try a lower trainer.lr."
        )
    model.load_state_dict(kept, strict=False)
    model.eval()
    return history


def train_steps(
    model: nn.Module,
    optimizer: Any,
    task: Task,
    micros: list[Micro],
    *,
    clip: float | None,
    accelerator: Accelerator,
) -> Any:
    """One optimizer step for each run of micro-batches; yields its mean loss on this rank, detached.

    Raises:
        NonFiniteError: before the step that would have been taken.
    """
    heads = accelerator.unwrap_model(model).readout.heads
    scaled = accelerator.scaler is not None
    step_loss = torch.zeros((), device=accelerator.device)
    step_rows: list[Rows] = []
    for micro, (rows, inputs) in zip(micros, task.feed.inputs(m.rows for m in micros), strict=True):
        sync = contextlib.nullcontext() if micro.last else accelerator.no_sync(model)
        with sync:
            loss = _loss(heads, model(inputs), task, rows) * micro.share
            accelerator.backward(loss)
        step_loss = step_loss + loss.detach()
        step_rows.append(rows)
        if not micro.last:
            continue
        norm = accelerator.clip_grad_norm_(model.parameters(), math.inf if clip is None else clip)
        # Under fp16 the scaler expects infinite gradients now and then, and skips those steps itself.
        watched = step_loss if scaled or norm is None else step_loss + norm
        if not torch.isfinite(watched):
            raise NonFiniteError(_name_rows(model, task, np.concatenate(step_rows), heads))
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        yield step_loss
        step_loss, step_rows = torch.zeros_like(step_loss), []


def _loss(heads: nn.ModuleDict, answer: tuple[Outputs, Tensor | None], task: Task, rows: Rows) -> Tensor:
    """Weighted sum of the outputs' losses; words that were cut off teach nothing."""
    outputs, mask_BT = answer
    index = torch.from_numpy(rows)
    parts = []
    for name, output in outputs.items():
        targets = match_targets(task.targets[name][index].to(output.device, non_blocking=True), output)
        if mask_BT is not None and output.ndim == 3:
            targets = targets.masked_fill(~mask_BT, -100)
        head: Any = heads[name]
        parts.append(task.weights[name] * head.loss(output, targets))
    return torch.stack(parts).sum()


def _name_rows(model: nn.Module, task: Task, rows: Rows, heads: nn.ModuleDict) -> str:
    """Which rows made the loss non-finite, found one by one; all of the batch when none does alone."""
    model.eval()
    with torch.no_grad():
        bad = [
            int(row[0])
            for row, inputs in task.feed.inputs(rows[i : i + 1] for i in range(len(rows)))
            if not torch.isfinite(_loss(heads, model(inputs), task, row))
        ]
    named = ", ".join(str(row + 1) for row in sorted(bad or rows.tolist())[:20])
    place = f"row {named}" if bad else f"the batch of rows {named}"
    return (
        f"The loss or its gradient is not a finite number at {place}; no step was taken on it. "
        "Look at these rows, or lower trainer.lr, or set trainer.clip."
    )


def _figures(scores: Scores, weights: Mapping[str, float]) -> dict[str, Any]:
    figures: dict[str, Any] = {"loss": sum(weights[name] * loss for name, loss in scores.losses.items())}
    for output, metrics in scores.metrics.items():
        figures |= {f"{output}.{name}": value for name, value in metrics.items()}
    return figures


def _monitored(entry: Mapping[str, Any], name: str, model: ProductModel) -> float:
    """The monitored figure, lower is better: negated unless it is a loss or the head says so."""
    if name not in entry or name == "epoch":
        allowed = ", ".join(key for key in entry if key != "epoch")
        raise ConfigError(f"trainer.monitor={name}: choose one of {allowed}.")
    output, _, metric = name.partition(".")
    if not metric:
        return float(entry[name])
    head = model.readout.head(output)
    lower_is_better = metric in ("mae", "rmse") or (metric == head.metric and not head.higher_is_better)
    return float(entry[name]) if lower_is_better else -float(entry[name])


def _trained_state(model: nn.Module) -> dict[str, Tensor]:
    """Copies of what training changes: parameters with gradients, and all buffers."""
    names = {name for name, p in model.named_parameters() if p.requires_grad}
    names |= {name for name, _ in model.named_buffers()}
    return {name: tensor.detach().clone() for name, tensor in model.state_dict().items() if name in names}
