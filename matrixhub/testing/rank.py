"""What each of the two processes of ``two_ranks_agree`` runs: one step, and a digest of every tensor after
it."""

import hashlib
import json
import os
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

# Before there is a process group; why, says ``run/ranks.py``.
import torch.distributed.nn.functional
from torch import Tensor, nn

from matrixhub.plugins import hub
from matrixhub.testing.exercises import EncoderExercise, Exercise, FusionExercise, HeadExercise, exercise_of
from matrixhub.types import Features


class Loss(nn.Module):
    """A module with its loss as its answer, so that gradients are averaged over the processes.

    Args:
        module: a component.
        exercise: of its kind.
    """

    def __init__(self, module: nn.Module, exercise: Exercise) -> None:
        super().__init__()
        self.module, self.exercise = module, exercise

    def forward(self, inputs: Any) -> Tensor:
        """A scalar."""
        return self.exercise.loss(self.module, inputs)


def main(asked: Path) -> None:
    """One step on the rows of this rank."""
    given, rank = json.loads(asked.read_text("utf-8")), int(os.environ["RANK"])
    torch.distributed.init_process_group("gloo")
    torch.manual_seed(rank)
    component = hub().component(given["kind"], given["name"])
    exercise = exercise_of(component, given["task"], given["rows"])
    module = component.factory()(**exercise.supplied, **given["options"]).train()
    wrapped = nn.parallel.DistributedDataParallel(Loss(module, exercise))
    before = digests(module)
    optimizer = torch.optim.AdamW(module.parameters(), lr=0.01)
    wrapped(of_rank(exercise, module, rank)).backward()
    optimizer.step()
    asked.with_suffix(f".{rank}").write_text(
        json.dumps({"before": before, "after": digests(module)}), "utf-8"
    )
    torch.distributed.destroy_process_group()


def of_rank(exercise: Exercise, module: Any, rank: int) -> Any:
    """Other inputs on each rank, of the same size."""
    inputs = exercise.inputs(module)
    match exercise:
        case EncoderExercise():
            rows = exercise.rows(module)
            kept = [rows[rank], *rows[2 + rank :: 2]]
            return module.processor.collate(module.processor.prepare(kept))
        case FusionExercise():
            return {n: replace(one, pooled_BD=one.pooled_BD * (1 + rank)) for n, one in inputs.items()}
        case HeadExercise():
            return Features(inputs.pooled_BD * (1 + rank), inputs.tokens_BTD * (1 + rank), inputs.mask_BT)
    return inputs


def digests(module: nn.Module) -> dict[str, str]:
    """Of each parameter; buffers such as running means are each rank's own until it is saved."""
    return {
        name: hashlib.sha256(parameter.detach().float().numpy().tobytes()).hexdigest()
        for name, parameter in module.named_parameters()
    }


if __name__ == "__main__":
    main(Path(sys.argv[1]))
