"""Optimizer and schedule of a cell, and of many cells stacked, from their trainer configs."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import AdamW
from torch.optim.lr_scheduler import LambdaLR


def parameter_groups(model: nn.Module, trainer: Mapping[str, Any]) -> list[dict[str, Any]]:
    """AdamW groups: the encoder's own learning rate, no weight decay on biases and norms."""
    encoder_lr = trainer["encoder_lr"] or trainer["lr"]
    groups: dict[tuple[float, float], list[nn.Parameter]] = {}
    for name, parameter in model.named_parameters():
        if not parameter.requires_grad:
            continue
        lr = encoder_lr if name.startswith(("encoders.", "generator.")) else trainer["lr"]
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


class StackedAdamW:
    """AdamW (Loshchilov and Hutter 2019) over stacked parameters (K, ...), with numbers of its own for each
    of the K members; the same steps as ``torch.optim.AdamW`` takes for each of them alone.

    Args:
        params: stacked parameters by name; those of fewer than two dimensions for each member have no decay.
        trainers: as in ``TrainerConfig``, one for each member.
        per_epoch: steps of an epoch.
    """

    betas, eps = (0.9, 0.999), 1e-8

    def __init__(
        self, params: Mapping[str, Tensor], trainers: Sequence[Mapping[str, Any]], per_epoch: int
    ) -> None:
        self.trainers, self.per_epoch = list(trainers), per_epoch
        self.means = {name: torch.zeros_like(tensor) for name, tensor in params.items()}
        self.squares = {name: torch.zeros_like(tensor) for name, tensor in params.items()}

    def clip(self, grads: Mapping[str, Tensor]) -> Tensor:
        """Scale each member's gradients, in place, to its ``clip`` at most; their norms (K,) before that."""
        sizes = [torch.linalg.vector_norm(g.reshape(len(g), -1), dim=1) for g in grads.values()]
        norms_K: Tensor = torch.linalg.vector_norm(torch.stack(sizes), dim=0)
        most_K = self._numbers([math.inf if t["clip"] is None else t["clip"] for t in self.trainers], norms_K)
        scale_K = (most_K / (norms_K + 1e-6)).clamp(max=1.0)
        for grad in grads.values():
            grad.mul_(_wide(scale_K, grad))
        return norms_K

    @torch.no_grad()
    def step(self, params: Mapping[str, Tensor], grads: Mapping[str, Tensor], step: int) -> None:
        """Take optimizer step ``step`` (from 0), in place."""
        first, second = (1 - beta ** (step + 1) for beta in self.betas)
        for name, param in params.items():
            grad, mean, square = grads[name], self.means[name], self.squares[name]
            lr_K = self._numbers([self._lr(t, step) for t in self.trainers], param)
            if param.ndim > 2:
                decay_K = lr_K * self._numbers([t["weight_decay"] for t in self.trainers], param)
                param.mul_(_wide(1 - decay_K, param))
            mean.lerp_(grad, 1 - self.betas[0])
            square.mul_(self.betas[1]).addcmul_(grad, grad, value=1 - self.betas[1])
            spread = square.sqrt().div_(math.sqrt(second)).add_(self.eps)
            param.addcdiv_(mean * _wide(-lr_K / first, param), spread)

    def keep(self, index: Sequence[int]) -> None:
        """Go on with these members only."""
        self.trainers = [self.trainers[k] for k in index]
        self.means = {name: tensor[index] for name, tensor in self.means.items()}
        self.squares = {name: tensor[index] for name, tensor in self.squares.items()}

    def _lr(self, trainer: Mapping[str, Any], step: int) -> float:
        num_steps = trainer["epochs"] * self.per_epoch
        factor = learning_rate_factor(
            step, num_steps=num_steps, warmup=trainer["warmup"], schedule=trainer["schedule"]
        )
        return float(trainer["lr"]) * factor

    @staticmethod
    def _numbers(values: Sequence[float], like: Tensor) -> Tensor:
        return torch.tensor(values, dtype=like.dtype, device=like.device)


def _wide(numbers_K: Tensor, like: Tensor) -> Tensor:
    """(K,) as (K, 1, ...), to be multiplied with ``like``."""
    return numbers_K.view(-1, *[1] * (like.ndim - 1))
