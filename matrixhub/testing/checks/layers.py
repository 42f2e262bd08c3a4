"""Checks of encoders that can be cut in two, so that their last layers train on what the first ones gave."""

from typing import Any

from matrixhub.protocols import Encoder
from matrixhub.testing.check import check, fail, skip
from matrixhub.testing.checks.encoder import all_rows, ask
from matrixhub.testing.checks.state import perturbed
from matrixhub.testing.compare import apart, tolerance
from matrixhub.testing.exercises import projection, real_features
from matrixhub.testing.subject import Subject
from matrixhub.types import Features


@check("encoder", needs=("declared_shapes", "deterministic_in_eval"))
def halves_are_the_whole(subject: Subject) -> None:
    """Cut before any of its layers, the two parts together answer as the whole does, and share all its
    parameters: none is in both, none is lost. The first part is an encoder that gives hidden states as
    tokens.

    Mend: compare matrixhub.Layered; hand both parts the modules of the encoder itself, and the last one its
    norms and pooling.
    """
    _only_layered(subject)
    encoder = subject.built
    own = {id(parameter): name for name, parameter in encoder.named_parameters()}
    expected = ask(subject, encoder.processor.prepare(all_rows(subject)))
    for num_trainable in range(1, encoder.num_layers + 1):
        how = f"cut before the last {num_trainable} of {encoder.num_layers} layers"
        prefix, suffix = encoder.split(num_trainable)
        if not isinstance(prefix, Encoder) or (prefix.modality, prefix.budget) != (
            encoder.modality,
            encoder.budget,
        ):
            fail(f"{how}, the first part is no encoder of the same modality and budget")
        parts: tuple[Any, Any] = (prefix, suffix)
        halves = [{id(p) for p in part.parameters()} for part in parts]
        if both := halves[0] & halves[1]:
            fail(f"{how}, {own.get(both.pop(), 'a parameter')} is in both parts")
        if lost := own.keys() - halves[0] - halves[1]:
            fail(f"{how}, {own[lost.pop()]} is in neither part")
        hidden = ask(subject, encoder.processor.prepare(all_rows(subject)), prefix)
        if hidden.tokens_BTD is None or hidden.tokens_BTD.shape[2] != prefix.dim:
            fail(f"{how}, the first part gives no tokens of its dim {prefix.dim}")
        _same(suffix(hidden), expected, how)


@check("encoder", needs=("halves_are_the_whole",))
def hidden_states_bear_new_padding(subject: Subject) -> None:
    """Hidden states of rows that were computed alone, padded anew in other batches, give the features of the
    whole: they are stored by row, and batches of a training differ in every epoch.

    Mend: the last part reads the mask that it is given, not lengths that were known before.
    """
    import torch

    _only_layered(subject)
    prefix, suffix = subject.built.split(1)
    items = subject.built.processor.prepare(all_rows(subject))
    alone = [ask(subject, [item], prefix) for item in items]
    pad = torch.nn.utils.rnn.pad_sequence
    hidden = Features(
        torch.cat([one.pooled_BD for one in alone]),
        pad([one.tokens_BTD[0] for one in alone if one.tokens_BTD is not None], batch_first=True),
        pad([one.mask_BT[0] for one in alone if one.mask_BT is not None], batch_first=True),
    )
    _same(suffix(hidden), ask(subject, items), "padded anew")


@check("encoder", needs=("halves_are_the_whole",))
def last_layers_learn_for_the_whole(subject: Subject) -> None:
    """What the last part learns is in the whole encoder, which is what is saved; the first part gets no
    gradient.

    Mend: share parameters between the parts and the whole; make no copies.
    """
    _only_layered(subject)
    encoder = subject.build().requires_grad_(False)
    items = encoder.processor.prepare(all_rows(subject))
    before = ask(subject, items, encoder)
    prefix, suffix = encoder.split(1)
    hidden = ask(subject, items, prefix)
    suffix.requires_grad_(True)
    projection(real_features(suffix(hidden))).backward()  # type: ignore[no-untyped-call]
    if touched := [name for name, parameter in prefix.named_parameters() if parameter.grad is not None]:
        fail(f"a loss on the last layer gives {touched[0]} of the first ones a gradient")
    perturbed(suffix)
    after = ask(subject, items, encoder)
    if not apart(before.pooled_BD, after.pooled_BD):
        fail("the last layer was changed, and the whole encoder answers as before")
    _same(suffix(hidden), after, "trained")


def _only_layered(subject: Subject) -> None:
    if "layers" not in subject.component.produces:
        skip("it is not registered to produce layers")
    if not subject.built.num_layers:
        skip("built with these options it has no layers to cut")


def _same(found: Features, expected: Features, how: str) -> None:
    for name, wanted in real_features(expected).items():
        got = real_features(found).get(name)
        if got is None:
            fail(f"{how}, the last part gives no {name}")
        if (difference := apart(got, wanted)) > tolerance(wanted):
            fail(f"{how}, {name} differ by {difference:.3g} from those of the whole")
