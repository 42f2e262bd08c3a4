"""Which epoch was the best: the figure that is watched, and the weights that had it."""

import math
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from matrixhub.errors import ConfigError, TrainingError
from matrixhub.run.evaluate import Scores

TRAIN_LOSS, LOSS = "train_loss", "loss"
_ERRORS = ("mae", "mse", "rmse")
"""Metrics known to be better when lower, beside a head's own."""


class Best:
    """Keeps the weights of the epoch with the best figure.

    Args:
        model: whose weights they are.
        monitor: name of the figure in the entries it will look at.
    """

    def __init__(self, model: nn.Module, monitor: str) -> None:
        self.model = model
        self.monitor = monitor
        self.sign = 1.0 if lower_is_better(model, monitor) else -1.0
        self.figure = math.inf
        self.epoch = 0
        self._kept: dict[str, Tensor] | None = None

    def look(self, entry: Mapping[str, Any]) -> None:
        """Keep the weights as they are now if this epoch was the best so far."""
        figure = self.sign * float(entry[self.monitor])
        if figure < self.figure:
            self.figure, self.epoch, self._kept = figure, entry["epoch"], trained_state(self.model)

    def restore(self) -> int:
        """Give the model the best weights, in eval mode; which epoch they are of.

        Raises:
            TrainingError: the figure was never a finite number.
        """
        if self._kept is None:
            raise TrainingError(never_finite(self.monitor))
        self.model.load_state_dict(self._kept, strict=False)
        self.model.eval()
        return self.epoch


def figures(scores: Scores, weights: Mapping[str, float]) -> dict[str, float]:
    """What can be monitored: ``loss``, the weighted sum over the outputs, and ``OUTPUT.METRIC``."""
    found = {LOSS: sum(weights[name] * loss for name, loss in scores.losses.items())}
    for output, metrics in scores.metrics.items():
        found |= {f"{output}.{name}": value for name, value in metrics.items()}
    return found


def require_figure(name: str, allowed: Mapping[str, float]) -> None:
    """Refuse to monitor what is not measured.

    Raises:
        ConfigError: lists the figures that are.
    """
    if name not in (TRAIN_LOSS, *allowed):
        known = ", ".join([*allowed, TRAIN_LOSS])
        raise ConfigError(f"trainer.monitor={name}: choose one of {known}.")


def never_finite(monitor: str) -> str:
    """What to say when no epoch can be called the best."""
    return f"trainer.monitor={monitor} was never a finite number; try a lower trainer.lr."


def trained_state(model: nn.Module) -> dict[str, Tensor]:
    """Copies of what training changes: parameters with gradients, and all buffers."""
    names = {name for name, p in model.named_parameters() if p.requires_grad}
    names |= {name for name, _ in model.named_buffers()}
    with torch.no_grad():
        return {name: tensor.clone() for name, tensor in model.state_dict().items() if name in names}


def lower_is_better(model: nn.Module, monitor: str) -> bool:
    """Whether smaller values of a figure are better ones."""
    output, _, metric = monitor.partition(".")
    if not metric:
        return True
    readout: Any = model.readout
    head = readout.head(output)
    return bool(metric in _ERRORS or (metric == head.metric and not head.higher_is_better))
