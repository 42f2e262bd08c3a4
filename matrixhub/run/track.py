"""Training watched from outside: for each cell a run of each chosen tracker, by way of Accelerate."""

import functools
import math
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from accelerate.tracking import LOGGER_TYPE_TO_CLASS
from torch import Tensor

from matrixhub.plan import Cell
from matrixhub.run.loop import History
from matrixhub.run.monitor import TRAIN_LOSS
from matrixhub.run.session import Session
from matrixhub.run.watchers import Watchers

PROJECT = "matrixhub"
STEPS_BETWEEN_LOSSES = 20
"""A loss is read from the device, and told as the mean of these, so seldom that the loop never waits."""

_ARGUMENTS: dict[str, Callable[[str, Path], dict[str, Any]]] = {
    "tensorboard": lambda name, folder: {"run_name": name, "logging_dir": str(folder / "tensorboard")},
    "wandb": lambda name, folder: {"run_name": PROJECT, "name": name, "dir": str(folder)},
    "mlflow": lambda name, folder: {"experiment_name": PROJECT, "run_name": name},
    "trackio": lambda name, folder: {"run_name": PROJECT, "name": name},
}


class Watch:
    """What trackers and callbacks are told of one cell's training, from the main process.

    Their run begins with the first figure and ends with ``finish``, for some know one run at a time only: of
    cells that train together, each is told after the other. A tracker that fails is left out with a warning:
    watching stops no training.

    Args:
        cell: that trains.
        session: of this process.
        num_rows: of training.
    """

    def __init__(self, cell: Cell, session: Session, num_rows: int) -> None:
        self.cell, self.folder, self.callbacks = cell, session.folder, session.callbacks
        self.steps_per_epoch = math.ceil(num_rows / cell.trainer["batch_size"])
        self._waiting: list[str] = list(session.plan.launch["trackers"]) if session.is_main else []
        self._trackers = Watchers("tracker")
        self._losses: list[Tensor] = []
        self._num_epochs = 0

    def step(self, step: int, loss: Tensor) -> None:
        """An optimizer step and its mean loss, on the device."""
        if not (self._waiting or self._trackers):
            return
        self._losses.append(loss)
        if len(self._losses) == STEPS_BETWEEN_LOSSES:
            self._tell({"train/loss": float(torch.stack(self._losses).mean())}, step)
            self._losses = []

    def epoch(self, entry: Mapping[str, Any]) -> None:
        """Figures of an epoch, as in a record: the mean training loss, and those of validation."""
        self._num_epochs += 1
        self.callbacks.tell("on_epoch_end", self.cell.to_dict(), dict(entry))
        figures = {f"validation/{name}": value for name, value in entry.items() if name != "epoch"}
        figures["train/epoch_loss"] = figures.pop(f"validation/{TRAIN_LOSS}")
        self._tell(figures, entry["epoch"] * self.steps_per_epoch)

    def finish(self, history: History, metrics: Mapping[str, Mapping[str, float]]) -> None:
        """The epochs that were not told yet, and the figures on the test rows by output; the end."""
        for entry in history.epochs[self._num_epochs :]:
            self.epoch(entry)
        figures = {f"test/{output}.{name}": of[name] for output, of in metrics.items() for name in of}
        if figures:
            self._tell(figures, history.num_steps)
        self._trackers.each(lambda tracker: tracker.finish())
        self._trackers.clear()

    def _tell(self, values: Mapping[str, float], step: int) -> None:
        self._start()
        self._trackers.each(lambda tracker: tracker.log(dict(values), step=step))

    def _start(self) -> None:
        run = f"{self.cell.name}-{self.cell.id[:6]}".replace("/", "_")
        cell = self.cell
        settings = {"product": cell.product["name"], "encoder": cell.encoder_label, "head": cell.head_label}
        settings |= {f"trainer.{key}": _plain(value) for key, value in cell.trainer.items()}
        for name in self._waiting:
            self._trackers.add(name, functools.partial(_tracker, name, run, self.folder))
        if self._waiting:
            self._waiting = []
            self._trackers.each(lambda tracker: tracker.start())
            self._trackers.each(lambda tracker: tracker.store_init_configuration(settings))


def _tracker(name: str, run: str, folder: Path) -> Any:
    return LOGGER_TYPE_TO_CLASS[name](**_ARGUMENTS[name](run, folder))


def _plain(value: Any) -> str | int | float:
    return value if isinstance(value, str | int | float) else str(value)
