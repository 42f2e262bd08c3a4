"""Optimizer and schedule of a cell, from its trainer config."""

import math
from collections.abc import Mapping
from typing import Any

from torch import nn
from torch.optim import AdamW
from torch.optim.lr_scheduler import LambdaLR


def parameter_groups(model: nn.Module, trainer: Mapping[str, Any]) -> list[dict[str, Any]]:
    """AdamW groups: the encoder's own learning rate, no weight decay on biases and norms."""
    encoder_lr = trainer["encoder_lr"] or trainer["lr"]
    groups: dict[tuple[float, float], list[nn.Parameter]] = {}
    for name, parameter in model.named_parameters():
        if not parameter.requires_grad:
            continue
        lr = encoder_lr if name.startswith("encoders.") else trainer["lr"]
        decay = trainer["weight_decay"] if parameter.ndim > 1 else 0.0
        groups.setdefault((lr, decay), []).append(parameter)
    return [{"params": found, "lr": lr, "weight_decay": decay} for (lr, decay), found in groups.items()]


def make_optimizer(model: nn.Module, trainer: Mapping[str, Any]) -> AdamW:
    """AdamW (Loshchilov and Hutter 2019), fused into one kernel a step."""
    return AdamW(parameter_groups(model, trainer), lr=trainer["lr"], fused=True)


def learning_rate_factor(step: int, *, num_steps: int, warmup: float, schedule: str) -> float:
    """Factor on the peak learning rate before optimizer step ``step`` (from 0) of ``num_steps``.

    Rises linearly over the first ``warmup`` share of the steps, then stays (``constant``), falls in a
    line (``linear``) or along half a cosine (``cosine``; Loshchilov and Hutter 2017) to zero.
    """
    rising = math.ceil(warmup * num_steps)
    if step < rising:
        return (step + 1) / rising
    done = (step - rising) / max(num_steps - rising, 1)
    if schedule == "linear":
        return max(1.0 - done, 0.0)
    if schedule == "cosine":
        return 0.5 * (1.0 + math.cos(math.pi * min(done, 1.0)))
    return 1.0


def make_schedule(optimizer: Any, trainer: Mapping[str, Any], num_steps: int) -> LambdaLR:
    """The learning-rate schedule over all optimizer steps."""
    return LambdaLR(
        optimizer,
        lambda step: learning_rate_factor(
            step, num_steps=num_steps, warmup=trainer["warmup"], schedule=trainer["schedule"]
        ),
    )
