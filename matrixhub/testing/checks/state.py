"""Checks of what is stored of a module: weights as safetensors, and the data it needs to be built again."""

import itertools
import tempfile
from collections import defaultdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from matrixhub.errors import MatrixHubError
from matrixhub.protocols import SavesAssets, Standardizes
from matrixhub.testing.check import MODULES, check, fail, skip
from matrixhub.testing.compare import apart, is_tensor
from matrixhub.testing.exercises import D
from matrixhub.testing.subject import Subject, told

if TYPE_CHECKING:
    from torch import Tensor, nn

CODE_OR_WEIGHTS = (".py", ".pyc", ".bin", ".pt", ".pth", ".pkl", ".pickle", ".ckpt", ".safetensors", ".so")


@check("encoder", needs=("answers",))
def assets_are_data(subject: Subject) -> None:
    """What ``save_assets`` writes is data (json, txt, a tokenizer's model): an artifact that holds code, a
    pickle or a second copy of the weights is refused.

    Mend: write configs and vocabularies there; the core stores the weights.
    """
    if not isinstance(subject.built, SavesAssets):
        skip("it has no save_assets: options and weights are all it needs")
    wrong = [p.name for p in subject.assets.rglob("*") if p.suffix in CODE_OR_WEIGHTS]
    if wrong:
        fail(f"save_assets writes {', '.join(sorted(wrong))}")


@check(*MODULES, needs=("answers", "deterministic_in_eval", "assets_are_data"))
def state_round_trip(subject: Subject) -> None:
    """All that it learns is in its ``state_dict()``: changed weights, loaded with strict=True into a new one
    built from its options (without pretrained weights, from the folder that ``save_assets`` wrote), give the
    same answers.

    Mend: keep what is learned in parameters and persistent buffers, whose names and shapes follow from the
    options; write everything else it is built from in save_assets, and take it from the option checkpoint.
    """
    trained = perturbed(subject.build())
    answers = subject.answers(trained)
    # Texts may well stay the same.
    if (
        subject.kind != "generator"
        and list(trained.parameters())
        and not any(apart(answers[name], found) for name, found in subject.answered.items())
    ):
        fail("changing all its parameters changes no answer: they are not what it answers with")
    again = subject.bare()
    try:
        again.load_state_dict(trained.state_dict(), strict=True)
    except RuntimeError as error:
        fail(f"another one does not take its weights: {' '.join(str(error).split())[:300]}")
    found = subject.answers(again)
    for name, expected in answers.items():
        if (difference := apart(found[name], expected)) > 1e-6:
            fail(f"with the same weights, another one gives {name} that differ by {difference:.3g}")


@check(*MODULES, needs=("answers",))
def safetensors_round_trip(subject: Subject) -> None:
    """Its weights can be written as safetensors and read again, bit for bit: tensors only, finite, none a
    part of another's memory. Parameters that share memory (tied weights) are tied in every new one too, by
    its construction.

    Mend: no get_extra_state; .clone() what is a slice of another tensor; tie weights while building, not
    later.
    """
    from matrixhub.artifacts.weights import load_weights, save_weights

    state = subject.built.state_dict()
    if odd := [name for name, value in state.items() if not is_tensor(value)]:
        fail(f"{odd[0]} in its state_dict is a {type(state[odd[0]]).__name__}, no tensor")
    if pair := _overlapping(state):
        fail(f"{pair[0]} and {pair[1]} share a part of their memory")
    here, there = tied(subject.built), tied(subject.bare())
    if here != there:
        groups = "; ".join(" = ".join(group) for group in sorted(here ^ there))
        fail(f"tied weights are not the same in every one that is built: {groups}")
    with tempfile.TemporaryDirectory() as scratch:
        path = Path(scratch, "weights.safetensors")
        try:
            save_weights(path, state)
            found = load_weights(path)
        except (MatrixHubError, RuntimeError, ValueError) as error:
            fail(told(error))
        if wrong := [name for name in state if name not in found or apart(state[name], found[name])]:
            fail(f"{wrong[0]} is not what was written")


def perturbed(module: Any) -> Any:
    """The module with every parameter a little off, and features measured, as training leaves it."""
    import torch

    if isinstance(module, Standardizes):
        module.standardize(torch.linspace(-1, 1, D), torch.linspace(0.5, 2, D))
    made = torch.Generator().manual_seed(7)
    with torch.no_grad():
        for parameter in module.parameters():
            if parameter.is_floating_point():
                parameter.add_(0.05 * torch.randn(parameter.shape, generator=made).to(parameter.dtype))
    return module


def tied(module: "nn.Module") -> set[tuple[str, ...]]:
    """Groups of names that are one parameter."""
    names: dict[int, list[str]] = defaultdict(list)
    for name, parameter in module.named_parameters(remove_duplicate=False):
        names[id(parameter)].append(name)
    return {tuple(sorted(group)) for group in names.values() if len(group) > 1}


def _overlapping(state: "dict[str, Tensor]") -> tuple[str, str] | None:
    """Two names whose memory overlaps without being the same."""
    spans = sorted(
        (t.data_ptr(), t.data_ptr() + t.numel() * t.element_size(), name)
        for name, t in state.items()
        if t.numel()
    )
    for (start, end, name), (next_start, next_end, next_name) in itertools.pairwise(spans):
        if next_start < end and (start, end) != (next_start, next_end):
            return name, next_name
    return None
