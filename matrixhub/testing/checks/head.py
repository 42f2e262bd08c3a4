"""Checks of heads, once for each task they declare: outputs, loss, predictions, metrics."""

import math
from typing import TYPE_CHECKING, Any

from matrixhub.testing.check import COMPONENT, check, fail, skip
from matrixhub.testing.checks.reference import reference
from matrixhub.testing.compare import apart
from matrixhub.testing.exercises import CLASSES, B, C, HeadExercise, T
from matrixhub.testing.subject import ComponentSubject, Subject
from matrixhub.types import TASKS, Prediction

if TYPE_CHECKING:
    from torch import Tensor


@check(COMPONENT, needs=("loads",))
def tasks_are_declared(subject: ComponentSubject) -> None:
    """A head is registered with the feature levels it reads and the tasks it learns: plans refuse what does
    not fit before any work.

    Mend: register("head", ..., consumes="pooled" or "tokens", produces=tasks of matrixhub.types.TASKS).
    """
    component = subject.component
    if component.kind != "head":
        return
    if not component.consumes or set(component.consumes) - {"pooled", "tokens"}:
        fail(f"it consumes {', '.join(component.consumes) or 'nothing'}; allowed are pooled and tokens")
    if not component.produces or set(component.produces) - set(TASKS):
        fail(f"it produces {', '.join(component.produces) or 'nothing'}; allowed are {', '.join(TASKS)}")


@check("head", needs=("answers", "tasks_are_declared"))
def head_protocol(subject: Subject) -> None:
    """It has what ``matrixhub.Head`` lists: level (one it is registered to consume, tokens for tags), metric,
    higher_is_better, loss, decode and metrics.

    Mend: set these in __init__, by target.task where a head learns several tasks.
    """
    head = subject.built
    for name in ("level", "metric", "higher_is_better", "loss", "decode", "metrics"):
        if not hasattr(head, name):
            fail(f"it has no {name}")
    wanted = "tokens" if subject.task == "token_classification" else "pooled"
    if head.level != wanted or head.level not in subject.component.consumes:
        fail(f"its level is {head.level!r}; {subject.task} is learned from {wanted}, which it must consume")
    if not isinstance(head.higher_is_better, bool):
        fail(f"its higher_is_better is {head.higher_is_better!r}")


@check("head", needs=("head_protocol",))
def output_shape(subject: Subject) -> None:
    """Outputs are (B, C), one number a class; (B,) for a regression; (B, T, C) for tags; (B, 2E) for
    retrieval, first and second input side by side.

    Mend: the last layer has target.num_outputs outputs; squeeze it for a regression.
    """
    shapes = {"regression": (B,), "token_classification": (B, T, C)}
    with subject.watched():
        found = tuple(subject.built(subject.inputs).shape)
    if subject.task == "retrieval":
        if len(found) != 2 or found[0] != B or found[1] % 2:
            fail(f"outputs have shape {found}, and must have ({B}, 2E)")
    elif found != (wanted := shapes.get(subject.task, (B, C))):
        fail(f"outputs have shape {found}, and must have {wanted}")


@check("head", needs=("output_shape",))
def loss_is_finite(subject: Subject) -> None:
    """The loss is one finite number that can be differentiated.

    Mend: average over the batch; look for a logarithm of 0 and a division by a count of 0.
    """
    loss = subject.exercise.loss(subject.built, subject.inputs)
    if tuple(loss.shape) != ():
        fail(f"the loss has shape {tuple(loss.shape)}, and must be a scalar")
    if not math.isfinite(float(loss.detach())):
        fail(f"the loss is {float(loss.detach())}")


@check("head", needs=("output_shape",))
def padding_does_not_count(subject: Subject) -> None:
    """Positions whose target is -100 (padding) change neither loss nor metrics.

    Mend: ignore_index=-100 in the loss, and the same positions left out of the metrics.
    """
    if subject.task != "token_classification":
        skip("only tags are padded")
    import torch

    exercise, head = _exercise(subject), subject.built
    with subject.watched(), torch.no_grad():
        outputs = head(subject.inputs)
        spoiled = outputs.masked_fill(~exercise.mask_BT[..., None], 1e4)
        if difference := apart(head.loss(spoiled, exercise.targets), head.loss(outputs, exercise.targets)):
            fail(f"other outputs at padded positions change the loss by {difference:.3g}")
        if head.metrics(spoiled, exercise.targets) != head.metrics(outputs, exercise.targets):
            fail("other outputs at padded positions change the metrics")


@check("head", needs=("output_shape",))
def one_prediction_a_row(subject: Subject) -> None:
    """``decode`` gives a ``matrixhub.Prediction`` for each row: a known label (a list of them for multilabel,
    one a real word for tags), a number for a regression or a similarity; scores are in 0..1, the label's own
    the highest.

    Mend: apply softmax or sigmoid to the outputs, and take labels from target.classes in their order.
    """
    found = decoded(subject, subject.built)
    if len(found) != B:
        fail(f"{B} rows have {len(found)} predictions")
    words = _exercise(subject).mask_BT.sum(dim=1).tolist()
    for number, one in enumerate(found):
        if wrong := _fault(one, subject.task, words[number]):
            fail(f"row {number + 1}: {wrong}")


@check("head", needs=("output_shape",))
def metrics_are_numbers(subject: Subject) -> None:
    """Metrics hold the main one, and each is a finite float.

    Mend: name the main one in ``metric``; give float(...), and 0.0 where a metric is not defined.
    """
    found = _metrics(subject, subject.built(subject.inputs).detach())
    if subject.built.metric not in found:
        fail(f"its metric is {subject.built.metric!r}, and its metrics are {', '.join(found)}")
    for name, value in found.items():
        if not isinstance(value, float) or not math.isfinite(value):
            fail(f"{name} is {value!r}")


@check("head", needs=("metrics_are_numbers",))
def metrics_match_reference(subject: Subject) -> None:
    """Metrics that go by a well-known name (accuracy, macro_f1, micro_f1, mae, rmse, r2, pearson, ...) are
    what scikit-learn computes: numbers of two heads are compared with each other.

    Mend: compare averages (macro is over the classes that occur), positions that do not count, and units.
    """
    if subject.task == "retrieval":
        skip("scikit-learn has no metric of it")
    outputs = subject.built(subject.inputs).detach()
    wanted = reference(subject.task, outputs, _exercise(subject).targets)
    for name, value in _metrics(subject, outputs).items():
        if name in wanted and abs(value - wanted[name]) > 1e-4 * max(1.0, abs(wanted[name])):
            fail(f"{name} is {value:.6g}, scikit-learn says {wanted[name]:.6g}")


def decoded(subject: Subject, head: Any) -> list[Prediction]:
    """Its predictions for the kit's features, in eval mode."""
    import torch

    exercise = _exercise(subject)
    with subject.watched(), torch.no_grad():
        words = exercise.mask_BT if head.level == "tokens" else None
        found: list[Prediction] = head.eval().decode(head(subject.inputs), words)
    return found


def _metrics(subject: Subject, outputs: "Tensor") -> dict[str, float]:
    with subject.watched():
        found: dict[str, float] = subject.built.metrics(outputs, _exercise(subject).targets)
    return found


def _exercise(subject: Subject) -> HeadExercise:
    assert isinstance(subject.exercise, HeadExercise)
    return subject.exercise


def _fault(one: Any, task: str, num_words: int) -> str:
    """What is wrong with a prediction; empty where nothing is."""
    if not isinstance(one, Prediction):
        return f"a {type(one).__name__} is no matrixhub.Prediction"
    if one.score is not None and not 0 <= one.score <= 1:
        return f"its score is {one.score:.3g}"
    if one.scores and set(one.scores) != set(CLASSES):
        return f"it has scores of {', '.join(map(str, one.scores))}; the classes are {', '.join(CLASSES)}"
    match task:
        case "classification":
            good = one.value in CLASSES and (
                not one.scores or one.scores[one.value] == max(one.scores.values())
            )
        case "multilabel":
            good = not isinstance(one.value, str) and set(one.value) <= set(CLASSES)
        case "regression" | "retrieval":
            good = isinstance(one.value, float)
        case _:
            good = len(one.value) == num_words and set(one.value) <= set(CLASSES)
    return "" if good else f"its value is {one.value!r}, no answer to {task}"
