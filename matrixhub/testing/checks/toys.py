"""Checks that a head learns what can be learned, and answers what it has learned."""

import functools
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from matrixhub.testing.check import check, fail, skip
from matrixhub.testing.checks.head import decoded
from matrixhub.testing.exercises import CLASSES, HeadExercise
from matrixhub.testing.subject import Subject

if TYPE_CHECKING:
    from torch import Tensor

STEPS, LR = 100, 0.05
LARGEST_ERROR = 5.0
"""Of a regression whose targets have a spread of 10, on average."""


@check("head", needs=("loss_is_finite", "gradients_reach_parameters"))
def learns_a_toy(subject: Subject) -> None:
    """A hundred steps of AdamW on features that tell the targets apart halve the loss, and better its main
    metric.

    Mend: look for a loss of the wrong sign, a layer without gradient, or a ``higher_is_better`` that is not
    so.
    """
    toy = learned(subject)
    if not toy.losses[1] < toy.losses[0] / 2:
        fail(f"{STEPS} steps bring the loss from {toy.losses[0]:.3g} to {toy.losses[1]:.3g}")
    before, after = toy.metrics
    if not (after > before if toy.head.higher_is_better else after < before):
        fail(f"while the loss falls, {toy.head.metric} goes from {before:.3g} to {after:.3g}")


@check("head", needs=("learns_a_toy", "one_prediction_a_row"))
def decode_inverts_targets(subject: Subject) -> None:
    """A head that has learned its targets answers with them: labels in the order of target.classes, numbers
    in the units of the data.

    Mend: index target.classes by the position of the output; undo for predictions what was done to targets.
    """
    if subject.task == "retrieval":
        skip("its answer is how similar two inputs are")
    exercise = subject.exercise
    assert isinstance(exercise, HeadExercise)
    answers = [prediction.value for prediction in decoded(subject, learned(subject).head)]
    if subject.task == "regression":
        error = sum(abs(a - t) for a, t in zip(answers, exercise.targets.tolist(), strict=True)) / len(
            answers
        )
        if error > LARGEST_ERROR:
            fail(f"answers are {error:.3g} off, where targets have a spread of 10")
        return
    for number, (answer, wanted) in enumerate(
        zip(answers, _labels(exercise.targets, subject.task), strict=True)
    ):
        if (sorted(answer) if subject.task == "multilabel" else answer) != wanted:
            fail(f"row {number + 1} was learned as {wanted!r}, and is answered {answer!r}")


@dataclass(frozen=True, slots=True)
class Toy:
    """A trained head, with its loss and main metric before and after."""

    head: Any
    losses: tuple[float, float]
    metrics: tuple[float, float]


@functools.lru_cache(maxsize=1)
def learned(subject: Subject) -> Toy:
    """Train one on the kit's features."""
    import torch

    with subject.watched(), torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        head, threads = subject.build(), torch.get_num_threads()
        before, losses = _main(subject, head), []
        optimizer = torch.optim.AdamW(head.parameters(), lr=LR)
        torch.set_num_threads(1)  # for so little work, more cost more than they give
        head.train()
        for _ in range(STEPS):
            loss = subject.exercise.loss(head, subject.inputs)
            optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            losses.append(float(loss.detach()))
        head.eval()
        torch.set_num_threads(threads)
    return Toy(head, (losses[0], losses[-1]), (before, _main(subject, head)))


def _main(subject: Subject, head: Any) -> float:
    """Its main metric, in eval mode."""
    import torch

    assert isinstance(subject.exercise, HeadExercise)
    with subject.watched(), torch.no_grad():
        return float(head.metrics(head(subject.inputs), subject.exercise.targets)[head.metric])


def _labels(targets: "Tensor", task: str) -> list[Any]:
    match task:
        case "classification":
            return [CLASSES[index] for index in targets.tolist()]
        case "multilabel":
            return [sorted(c for c, on in zip(CLASSES, row, strict=True) if on) for row in targets.tolist()]
        case _:
            return [[CLASSES[index] for index in row if index >= 0] for row in targets.tolist()]
