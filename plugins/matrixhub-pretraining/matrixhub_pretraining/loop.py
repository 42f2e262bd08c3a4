"""The training loop, on Accelerate: every process takes its part of the same global batches."""

import contextlib
import math
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator
from torch import Tensor
from torch.optim import AdamW

from matrixhub import TrainingError
from matrixhub_pretraining import checkpoint
from matrixhub_pretraining.batches import HELD_OUT, Batch, Making, Place, Step, ahead, steps
from matrixhub_pretraining.model import Model
from matrixhub_pretraining.options import NEW_HEAD_LR, PretrainConfig, TrainerConfig

BETAS, EPS = (0.9, 0.999), 1e-6
"""As in BERT."""
_EXAMPLES = 64
"""Of held-out examples, scored at once."""

Figures = dict[str, float]
OnFigures = Callable[[Figures], None]


@dataclass(slots=True)
class State:
    """Where training stands.

    Attributes:
        step: optimizer steps taken.
        place: of the next example.
        history: figures of each look at what is held out.
    """

    step: int = 0
    place: Place = field(default_factory=Place)
    history: list[Figures] = field(default_factory=list)

    def as_dict(self) -> dict[str, Any]:
        """As it is written."""
        return {"step": self.step, "place": list(self.place), "history": self.history}


def optimizer_for(model: Model, options: PretrainConfig) -> AdamW:
    """AdamW with four groups: encoder and head, with and without weight decay; each knows its peak."""
    head_lr = options.trainer.head_lr or (NEW_HEAD_LR if model.new_head else options.lr)
    peaks = {False: options.lr, True: head_lr}
    groups: dict[tuple[bool, bool], list[torch.nn.Parameter]] = {}
    for name, parameter in model.named_parameters():
        if parameter.requires_grad:
            groups.setdefault((name.startswith(model.head), parameter.ndim > 1), []).append(parameter)
    decay = options.trainer.weight_decay
    made = [
        {
            "params": found,
            "is_head": is_head,
            "peak": peaks[is_head],
            "weight_decay": decay if decays else 0.0,
        }
        for (is_head, decays), found in groups.items()
    ]
    return AdamW(made, lr=options.lr, betas=BETAS, eps=EPS)


def learning_rate(step: int, trainer: TrainerConfig, *, is_head: bool) -> float:
    """Factor on the peak before optimizer step ``step`` (from 0); 0 for what ``head_first`` leaves alone."""
    alone = head_steps(trainer)
    if step < alone:
        return min(1.0, (step + 1) / max(1, math.ceil(trainer.warmup * alone))) if is_head else 0.0
    step, num = step - alone, trainer.steps - alone
    rising = math.ceil(trainer.warmup * num)
    if step < rising:
        return (step + 1) / rising
    done = (step - rising) / max(num - rising, 1)
    if trainer.schedule == "linear":
        return 1.0 - done
    return 0.5 * (1.0 + math.cos(math.pi * done)) if trainer.schedule == "cosine" else 1.0


def head_steps(trainer: TrainerConfig) -> int:
    """Steps that train the head alone."""
    return math.floor(trainer.head_first * trainer.steps)


@dataclass(slots=True)
class Loop:
    """A model in training.

    Attributes:
        model: on the accelerator's device.
        train, held_out: what makes their batches; nothing may be held out.
        options: of the pre-training.
        accelerator: of this process.
        work: folder of checkpoints.
        on_figures: told each look at what is held out.
        on_step: told each step that is done.
    """

    model: Model
    train: Making
    held_out: Making | None
    options: PretrainConfig
    accelerator: Accelerator
    work: Path
    on_figures: OnFigures
    on_step: Callable[[int], None]

    def run(self) -> State:
        """Train to the last step, from the newest checkpoint if there is one.

        Raises:
            TrainingError: a loss or gradient is not a finite number; no step was taken on it.
        """
        optimizer = optimizer_for(self.model, self.options)
        state = self._resumed(optimizer)
        wrapped, prepared = self.accelerator.prepare(self.model, optimizer)
        rank, world = self.accelerator.process_index, self.accelerator.num_processes
        trainer = self.options.trainer
        coming = ahead(steps(self.train, state.place, rank=rank, world=world))
        with contextlib.closing(coming):
            self._look(state, [], 0.0, when=not state.history)
            losses: list[Tensor] = []
            started = time.perf_counter()
            for step in islice(coming, trainer.steps - state.step):
                losses.append(self._step(wrapped, prepared, step, state.step))
                state.step, state.place = state.step + 1, step.place
                self.on_step(state.step)
                ends = state.step in (trainer.steps, head_steps(trainer))
                if ends or state.step % trainer.evaluate_every == 0:
                    self._look(state, losses, time.perf_counter() - started, when=True)
                    losses, started = [], time.perf_counter()
                if state.step % trainer.checkpoint_every == 0 and state.step < trainer.steps:
                    self._save(state, optimizer)
        return state

    def _step(self, wrapped: Any, optimizer: Any, step: Step, number: int) -> Tensor:
        """One optimizer step; the sums of ``FIGURES`` and the number of guesses, over all processes."""
        trainer, accelerator = self.options.trainer, self.accelerator
        # Chance depends on the step alone, so that a resumed run throws the same dice.
        torch.manual_seed((trainer.seed * 1_000_003 + number) * 1_003 + accelerator.process_index)
        for group in optimizer.param_groups:
            group["lr"] = group["peak"] * learning_rate(number, trainer, is_head=group["is_head"])
        batches = [None if one is None else _moved(one, accelerator.device) for one in step.batches]
        counts = torch.tensor([sum(len(b["guess"]) for b in batches if b)], device=accelerator.device).float()
        num_guesses = accelerator.reduce(counts, "sum") if accelerator.num_processes > 1 else counts
        wrapped.train()
        self.model.still = number < head_steps(trainer)
        sums = torch.zeros(4, device=accelerator.device)
        for i, batch in enumerate(batches):
            last = i == len(batches) - 1
            with contextlib.nullcontext() if last else accelerator.no_sync(wrapped):
                # A process left without examples goes along with one that does not count.
                found = wrapped(batch if batch else self._stand_in())
                counted = float(batch is not None)
                loss = found[0] / num_guesses[0] + found[2] / step.num_examples
                accelerator.backward(loss * accelerator.num_processes * counted)
            sums += found.detach() * counted
        if accelerator.num_processes > 1:
            sums = accelerator.reduce(sums, "sum")
        clip = math.inf if trainer.clip is None else trainer.clip
        norm = accelerator.clip_grad_norm_(wrapped.parameters(), clip)
        if not torch.isfinite(sums[0] + sums[2] + norm):
            rows = ", ".join(str(row + 1) for row in sorted(set(step.rows.tolist()))[:20])
            raise TrainingError(
                f"The loss or its gradient is not a finite number at step {number + 1} (documents {rows}); no"
                f" step was taken on it. Lower trainer.lr, or raise trainer.warmup."
            )
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        return torch.cat([sums, num_guesses])

    def _stand_in(self) -> Batch:
        examples = self.train.examples(HELD_OUT)
        return _moved(self.train.batch([(examples, HELD_OUT, 0)]), self.accelerator.device)

    def _look(self, state: State, losses: list[Tensor], seconds: float, *, when: bool) -> None:
        """Score what is held out, and tell."""
        if not when:
            return
        figures: Figures = {"step": state.step}
        if losses:
            total = torch.stack(losses).sum(dim=0).tolist()
            figures["train_loss"] = total[0] / total[4]
            figures["seconds"] = seconds
        if self.held_out is not None:
            figures |= evaluate(self.model, self.held_out, self.accelerator)
        state.history.append(figures)
        self.on_figures(figures)

    def _resumed(self, optimizer: AdamW) -> State:
        found = checkpoint.newest(self.work)
        if found is None:
            return State()
        state = checkpoint.load(found, self.model, optimizer)
        return State(state["step"], Place(*state["place"]), state["history"])

    def _save(self, state: State, optimizer: AdamW) -> None:
        if self.accelerator.is_main_process:
            checkpoint.save(self.work, self.model, optimizer, state.as_dict())
        self.accelerator.wait_for_everyone()


@torch.no_grad()
def evaluate(model: Model, held_out: Making, accelerator: Accelerator) -> Figures:
    """Mean losses and shares guessed right over held-out examples, the same ones each time."""
    examples = held_out.examples(HELD_OUT)
    count = min(len(examples), held_out.options.trainer.evaluate_examples)
    sums = torch.zeros(6, device=accelerator.device, dtype=torch.float64)
    model.eval()
    for start in range(0, count, _EXAMPLES):
        if (start // _EXAMPLES) % accelerator.num_processes != accelerator.process_index:
            continue
        taken = [(examples, HELD_OUT, at) for at in range(start, min(start + _EXAMPLES, count))]
        batch = _moved(held_out.batch(taken), accelerator.device)
        with accelerator.autocast():
            found = model(batch).double()
        sums += torch.cat([found, found.new_tensor([len(batch["guess"]), len(taken)])])
    if accelerator.num_processes > 1:
        sums = accelerator.reduce(sums, "sum")
    *found, num_guesses, num_examples = sums.tolist()
    return model.figures(*found, num_guesses=num_guesses, num_examples=num_examples)


def _moved(batch: Mapping[str, Tensor], device: torch.device) -> Batch:
    return {name: tensor.to(device, non_blocking=True) for name, tensor in batch.items()}
