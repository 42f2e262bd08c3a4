"""Heads of one architecture trained as one batched computation, each as if it were alone.

The parameters of K readouts are stacked, ``torch.func.vmap`` runs them in one pass, and everything that may
differ between them (learning rate, weight decay, clipping, schedule, seed, early stopping) is a number or a
decision of each. The idea is HFTA's (Wang et al., MLSys 2021), on what torch itself offers.

Shape legend: K members, B rows, N validation rows; stacked parameters are (K, ...).
"""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import torch
from accelerate import Accelerator
from accelerate.utils import broadcast_object_list
from torch import Tensor
from torch.func import functional_call, vmap

from matrixhub.errors import NonFiniteError, TrainingError
from matrixhub.run.encode import joined
from matrixhub.run.evaluate import align_words, match_targets
from matrixhub.run.feed import FeatureFeed, Rows
from matrixhub.run.loop import History, Task, micro_batches, name_rows, row_sizes
from matrixhub.run.model import ProductModel, Readout, balanced
from matrixhub.run.monitor import LOSS, TRAIN_LOSS, lower_is_better, never_finite
from matrixhub.run.noise import Noise, with_given_noise
from matrixhub.run.optimize import StackedAdamW
from matrixhub.types import Features

Tensors = dict[str, Tensor]
OnStep = Callable[[int, Tensor], None]

VALIDATION_ROWS = 2048
"""Rows at a time when figures are taken."""

_MASK = "mask of tokens"
TOLERANCE = 1e-4
"""By how much a stacked loss may differ from the loss alone, relative to its size, to be taken for equal."""


@dataclass(slots=True)
class Member:
    """One readout of a stack, and how it went.

    Attributes:
        model: without encoders; it ends with its best weights, in eval mode.
        trainer: as in ``TrainerConfig``.
        history: of its epochs.
        error: why it ended early, where it did.
    """

    model: ProductModel
    trainer: Mapping[str, Any]
    history: History = field(default_factory=History)
    error: Exception | None = None


def fit_stack(
    members: Sequence[Member],
    task: Task,
    *,
    monitor: str,
    accelerator: Accelerator,
    on_step: OnStep = lambda step, loss: None,
) -> None:
    """Train readouts of one architecture together on stored features, in float32.

    A member whose loss, gradient or figure is not finite ends with its ``error``; the others go on.

    Args:
        members: equal in all but the values of their tensors; their trainers are equal in ``batch_size``
            and, where features are of tokens, in ``seed``.
        task: rows and targets of all of them, fed with stored features.
        monitor: the figure that picks the best epoch.
        accelerator: of this process.
        on_step: told the number of the step and the mean loss over the members.
    """
    stack = Stack(members, task, monitor=monitor, accelerator=accelerator)
    while stack.members:
        stack.train_epoch(on_step)
        stack.end_epoch()


def is_stackable(model: ProductModel, task: Task, accelerator: Accelerator) -> bool:
    """Whether vmap can run this readout: found out by asking it for the loss of a few training rows.

    One with running statistics, with noise of its own, or that does what vmap cannot batch, is trained alone.
    """
    if model.encoders or not isinstance(task.feed, FeatureFeed):
        return False
    if any(hasattr(module, "running_mean") for module in model.modules()):
        return False
    still = {"seed": 0, "lr": 1.0, "weight_decay": 0.0, "batch_size": 8, "epochs": 1}
    pair = [Member(model, still), Member(model, still)]
    few = task.train[:8]
    try:
        stack = Stack(pair, task, monitor=LOSS, accelerator=accelerator)
        with torch.no_grad():
            # Copies: members with rows of their own ask more of vmap than those that share a batch.
            together_K = stack.losses([few, few.copy()], noisy=False)
            stack.losses([few, few.copy()])
            alone = stack.loss_alone(few)
    except (RuntimeError, NotImplementedError, TypeError, ValueError):
        # What vmap says no with. A fault of the readout's own comes again, and is told, when it trains alone.
        return False
    return bool((together_K - alone).abs().max() <= TOLERANCE * max(1.0, float(alone.abs())))


class Stack:
    """K readouts as one, while they train.

    Args:
        members, task, monitor, accelerator: as for ``fit_stack``.
    """

    def __init__(
        self, members: Sequence[Member], task: Task, *, monitor: str, accelerator: Accelerator
    ) -> None:
        self.members, self.task, self.monitor, self.accelerator = list(members), task, monitor, accelerator
        for member in members:
            member.model.to(accelerator.device)
        readouts = [member.model.readout for member in members]
        self.template: Any = with_given_noise(readouts[0])
        seeds = [m.trainer["seed"] + accelerator.process_index * 2**40 for m in members]
        self.noise = Noise(self.template, seeds, accelerator.device)
        self.params, self.own, self.common = _split_state(readouts)
        self.best = {name: tensor.detach().clone() for name, tensor in self.params.items()}
        self.figures = [math.inf] * len(members)
        self.sign = 1.0 if lower_is_better(members[0].model, monitor) else -1.0
        self.sizes = row_sizes(task.targets)
        self.per_epoch = math.ceil(len(task.train) / members[0].trainer["batch_size"])
        self.optimizer = StackedAdamW(self.params, [m.trainer for m in members], self.per_epoch)
        self.epoch = self.step = 0
        self.totals_K = torch.zeros(len(members), device=accelerator.device)

    def train_epoch(self, on_step: OnStep) -> None:
        """One optimizer step a batch, of all members at once."""
        self.totals_K.zero_()
        for rows, share_K in self._batches():
            losses_K = self.losses(rows) * share_K
            found = torch.autograd.grad(losses_K.sum(), list(self.params.values()), materialize_grads=True)
            # vmap gives transposed gradients, over which every later pass would be slow.
            grads = {name: grad.contiguous() for name, grad in zip(self.params, found, strict=True)}
            losses_K = self._reduced(losses_K.detach(), grads)
            norms_K = self.optimizer.clip(grads)
            is_finite = torch.isfinite(losses_K + norms_K).tolist()
            if not all(is_finite):
                self._set_aside(is_finite, rows)
                if not self.members:
                    return
                going = [k for k, finite in enumerate(is_finite) if finite]
                grads, losses_K = {n: g[going] for n, g in grads.items()}, losses_K[going]
            self.optimizer.step(self.params, grads, self.step)
            self.step += 1
            self.totals_K += losses_K
            on_step(self.step, losses_K.mean())

    @torch.no_grad()
    def end_epoch(self) -> None:
        """Take the figures of every member, keep the best weights, let go of those that are done."""
        if not self.members:
            return
        self.epoch += 1
        train_losses = (self.totals_K / self.per_epoch).tolist()
        validated = self._validate() if len(self.task.validation) else [{} for _ in self.members]
        going = []
        for k, member in enumerate(self.members):
            entry = {"epoch": self.epoch, "train_loss": train_losses[k], **validated[k]}
            member.history.epochs.append(entry)
            member.history.num_steps = self.step
            self._keep_if_best(k, self.sign * float(entry[self.monitor]))
            patience = member.trainer["patience"]
            is_bored = bool(patience) and self.epoch - member.history.best_epoch >= patience
            going.append(self.epoch < member.trainer["epochs"] and not is_bored)
        for k in (k for k, goes in enumerate(going) if not goes):
            self._finish(k)
        self._go_on_with(going)

    def losses(self, rows: Sequence[Rows], *, noisy: bool = True) -> Tensor:
        """Training loss (K,) of each member on its rows, weighted over the outputs."""
        shared = all(one is rows[0] for one in rows)
        given = [self._given(one) for one in (rows[:1] if shared else rows)]
        self.template.train()
        noise = self.noise.draw(self._state_of(0), _as_features(given[0])) if noisy else {}
        stacked = {**self.params, **self.own, **noise}

        def loss(mine: Tensors, one: Tensors) -> Tensor:
            return self._loss({**self.common, **mine}, one)

        if len(rows) == 1:  # of one member vmap would compute the same, and cost as much again
            return loss({name: tensor[0] for name, tensor in stacked.items()}, given[0])[None]
        data = given[0] if shared else {name: torch.stack([one[name] for one in given]) for name in given[0]}
        losses_K: Tensor = vmap(loss, in_dims=(0, None if shared else 0))(stacked, data)
        return losses_K

    def loss_alone(self, rows: Rows) -> Tensor:
        """Loss of the first member on its rows, without vmap."""
        return self._loss({}, self._given(rows))

    def _loss(self, state: Tensors, given: Tensors) -> Tensor:
        outputs, mask_BT = functional_call(self.template, state, (_as_features(given),))
        losses = {}
        for name, output in outputs.items():
            targets = match_targets(given[f"target {name}"], output)
            if mask_BT is not None and output.ndim == 3:
                targets = targets.masked_fill(~mask_BT, -100)
            losses[name] = self.template.head(name).loss(output, targets)
        learned = state.get("log_variances", self.template.log_variances)
        return balanced(losses, self.task.weights, learned)

    def _given(self, rows: Rows) -> Tensors:
        """Features and targets of some rows, by flat names."""
        ((_, inputs),) = self.task.feed.inputs([rows])
        found: Tensors = {}
        for name, one in inputs.items():
            assert isinstance(one, Features)
            parts = {
                "pooled": one.pooled_BD,
                "tokens": one.tokens_BTD,
                "mask": one.mask_BT,
                "present": one.present_B,
            }
            found |= {f"{part} {name}": t for part, t in parts.items() if t is not None}
        index = torch.from_numpy(rows)
        device = self.accelerator.device
        return found | {f"target {name}": t[index].to(device) for name, t in self.task.targets.items()}

    def _batches(self) -> Iterator[tuple[list[Rows], Tensor]]:
        """For each step: the rows of every member on this rank, and the shares (K,) of their losses."""
        rank, world = self.accelerator.process_index, self.accelerator.num_processes
        trainers = {member.trainer["seed"]: member.trainer for member in self.members}
        by_seed = {
            seed: micro_batches(
                self.task.train,
                {**trainer, "accumulation": 1},
                epoch=self.epoch,
                sizes=self.sizes,
                rank=rank,
                world=world,
            )
            for seed, trainer in trainers.items()
        }
        for step in range(self.per_epoch):
            micros = [by_seed[member.trainer["seed"]][step] for member in self.members]
            share_K = torch.tensor([m.share for m in micros], device=self.accelerator.device)
            yield [m.rows for m in micros], share_K

    def _reduced(self, losses_K: Tensor, grads: Tensors) -> Tensor:
        """The mean over all ranks, of losses (returned) and gradients (in place)."""
        if self.accelerator.num_processes == 1:
            return losses_K
        flat = torch.cat([losses_K, *(grad.flatten() for grad in grads.values())])
        parts = self.accelerator.reduce(flat, "mean").split(
            [len(losses_K), *(g.numel() for g in grads.values())]
        )
        for grad, part in zip(grads.values(), parts[1:], strict=True):
            grad.copy_(part.view_as(grad))
        return parts[0]  # type: ignore[no-any-return]

    def _validate(self) -> list[dict[str, float]]:
        """``loss`` of each member, and all metrics where one of them is watched."""
        rows = self.task.validation
        index = torch.from_numpy(rows)
        outputs, mask_BT = self._outputs(rows)
        targets = {name: encoded[index] for name, encoded in self.task.targets.items()}
        found = []
        for k, member in enumerate(self.members):
            entry = {LOSS: 0.0}
            for name, output_KN in outputs.items():
                head = member.model.readout.head(name)
                output, wanted = align_words(output_KN[k], mask_BT, targets[name])
                entry[LOSS] += self.task.weights[name] * float(head.loss(output, wanted))
                if self.monitor not in (LOSS, TRAIN_LOSS):
                    entry |= {f"{name}.{key}": float(v) for key, v in head.metrics(output, wanted).items()}
            found.append(entry)
        return self._agreed(found)

    def _outputs(self, rows: Rows) -> tuple[Tensors, Tensor | None]:
        """Outputs (K, N, ...) of all members, and the mask (N, T) of tokens, on the CPU."""
        self.template.eval()

        def run(mine: Tensors, inputs: Mapping[str, Any]) -> Tensors:
            outputs, mask_BT = functional_call(self.template, {**self.common, **mine}, (inputs,))
            return {**outputs, **({} if mask_BT is None else {_MASK: mask_BT})}

        parts: list[Tensors] = []
        for start in range(0, len(rows), VALIDATION_ROWS):
            ((_, inputs),) = self.task.feed.inputs([rows[start : start + VALIDATION_ROWS]])
            found = vmap(partial(run, inputs=inputs))({**self.params, **self.own})
            parts.append({name: tensor.cpu() for name, tensor in found.items()})
        outputs = {name: joined_tokens([part[name] for part in parts]) for name in parts[0]}
        mask_KNT = outputs.pop(_MASK, None)
        return outputs, None if mask_KNT is None else mask_KNT[0]

    def _agreed(self, found: list[dict[str, float]]) -> list[dict[str, float]]:
        """What the main process found, so that all ranks stop at the same epoch."""
        if self.accelerator.num_processes > 1:
            broadcast_object_list(found)
        return found

    def _keep_if_best(self, k: int, figure: float) -> None:
        if figure < self.figures[k]:
            self.figures[k], self.members[k].history.best_epoch = figure, self.epoch
            for name, tensor in self.params.items():
                self.best[name][k] = tensor[k]

    def _finish(self, k: int) -> None:
        """Give a member its best weights."""
        member = self.members[k]
        if not member.history.best_epoch:
            member.error = TrainingError(never_finite(self.monitor))
        self._load(member, {name: tensor[k] for name, tensor in self.best.items()})

    def _set_aside(self, is_finite: Sequence[bool], rows: Sequence[Rows]) -> None:
        """End the members whose loss or gradient is not finite, with the weights they had before the step."""
        for k in (k for k, finite in enumerate(is_finite) if not finite):
            member = self.members[k]
            self._load(member, {name: tensor[k] for name, tensor in self.params.items()})
            member.error = NonFiniteError(name_rows(member.model, self.task, rows[k], self.accelerator))
            member.history.num_steps = self.step
        self._go_on_with(is_finite)

    @torch.no_grad()
    def _load(self, member: Member, weights: Tensors) -> None:
        own = dict(member.model.readout.named_parameters())
        for name, tensor in weights.items():
            own[name].copy_(tensor)
        member.model.eval()

    def _go_on_with(self, going: Sequence[bool]) -> None:
        """Leave out the members that do not go on."""
        if all(going):
            return
        index = [k for k, goes in enumerate(going) if goes]
        self.members = [self.members[k] for k in index]
        self.figures = [self.figures[k] for k in index]
        self.params = {n: t.detach()[index].requires_grad_() for n, t in self.params.items()}
        self.own, self.best = ({n: t[index] for n, t in kept.items()} for kept in (self.own, self.best))
        self.totals_K = self.totals_K[index]
        self.noise.keep(index)
        self.optimizer.keep(index)

    def _state_of(self, k: int) -> Tensors:
        return self.common | {
            name: tensor[k].detach() for name, tensor in {**self.params, **self.own}.items()
        }


def _split_state(readouts: Sequence[Readout]) -> tuple[Tensors, Tensors, Tensors]:
    """Stacked parameters that train, stacked tensors that don't, and those that are equal in all (once)."""
    # Not the state dict: it lists a tied tensor under all its names, which stacking would untie.
    named = [{**dict(r.named_parameters()), **dict(r.named_buffers())} for r in readouts]
    params, own, common = {}, {}, {}
    for name, first in named[0].items():
        tensors = [one[name].detach() for one in named]
        if first.requires_grad:
            params[name] = torch.stack(tensors).requires_grad_()
        elif all(torch.equal(tensors[0], tensor) for tensor in tensors[1:]):
            common[name] = tensors[0]
        else:
            own[name] = torch.stack(tensors)
    return params, own, common


def _as_features(given: Tensors) -> dict[str, Features]:
    """Features by input name, out of the flat names of ``Stack._given``."""
    names = [name.removeprefix("pooled ") for name in given if name.startswith("pooled ")]
    return {
        name: Features(
            given[f"pooled {name}"],
            given.get(f"tokens {name}"),
            given.get(f"mask {name}"),
            given.get(f"present {name}"),
        )
        for name in names
    }


def joined_tokens(parts: Sequence[Tensor]) -> Tensor:
    """Parts (K, B, ...) or (K, B, T, ...) joined along the rows; those of fewer T are padded with zeros."""
    return torch.stack([joined([part[k] for part in parts]) for k in range(len(parts[0]))])
