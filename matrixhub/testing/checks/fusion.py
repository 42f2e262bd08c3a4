"""Checks of fusions: several inputs become one, each counts, each row is its own."""

from dataclasses import replace

from matrixhub.testing.check import check, fail
from matrixhub.testing.compare import apart, tolerance
from matrixhub.testing.exercises import DIMS, B
from matrixhub.testing.subject import Subject
from matrixhub.types import Features


@check("fusion", needs=("answers",))
def fused_shape(subject: Subject) -> None:
    """Fused features are (B, dim), with the ``dim`` that it says: the head is built for that width.

    Mend: set self.dim in __init__ from dims, the widths of the inputs.
    """
    dim = getattr(subject.built, "dim", None)
    shape = tuple(subject.answered["pooled features"].shape)
    if shape != (B, dim):
        fail(f"inputs of {B} rows and widths {tuple(DIMS.values())} become {shape}, and its dim is {dim}")


@check("fusion", needs=("answers",))
def every_input_counts(subject: Subject) -> None:
    """Each input has a part in the answer, and a gradient.

    Mend: go over all names of dims; look for an index that is always 0.
    """
    given = {
        name: replace(one, pooled_BD=one.pooled_BD.clone().requires_grad_())
        for name, one in subject.inputs.items()
    }
    with subject.watched():
        subject.exercise.loss(subject.built, given).backward()  # type: ignore[no-untyped-call]
    for name, features in given.items():
        gradient = features.pooled_BD.grad
        if gradient is None or not gradient.abs().sum() > 0:
            fail(f"the input '{name}' has no part in the answer")


@check("fusion", needs=("answers", "deterministic_in_eval"))
def independent_of_order(subject: Subject) -> None:
    """Inputs are told apart by name, whatever the order in which they come.

    Mend: keep the names of dims in __init__, and look features up by them.
    """
    backwards = dict(reversed(subject.inputs.items()))
    difference = apart(
        subject.answers(inputs=backwards)["pooled features"], subject.answered["pooled features"]
    )
    if difference:
        fail(f"in another order the same inputs give features that differ by {difference:.3g}")


@check("fusion", needs=("answers", "deterministic_in_eval"))
def rows_are_fused_alone(subject: Subject) -> None:
    """A row is fused alike alone and among others.

    Mend: nothing may be taken over the rows of a batch in eval mode.
    """
    third = {name: _third(features) for name, features in subject.inputs.items()}
    alone, among = subject.answers(inputs=third)["pooled features"][0], subject.answered["pooled features"][2]
    if (difference := apart(alone, among)) > tolerance(among):
        fail(f"the third row alone and among {B} differs by {difference:.3g}")


def _third(features: Features) -> Features:
    """The third row without padding."""
    tokens_BTD, mask_BT = features.tokens_BTD, features.mask_BT
    if tokens_BTD is None or mask_BT is None:
        return Features(features.pooled_BD[2:3])
    longest = int(mask_BT[2].sum())
    return Features(features.pooled_BD[2:3], tokens_BTD[2:3, :longest], mask_BT[2:3, :longest])
