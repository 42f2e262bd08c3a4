"""Checks of every module: encoders, fusions, heads and generators."""

import copy
import io
from collections.abc import Mapping
from multiprocessing.reduction import ForkingPickler
from typing import TYPE_CHECKING, Any

from matrixhub.testing.check import MODULES, check, fail, skip
from matrixhub.testing.compare import apart, changed, is_finite
from matrixhub.testing.subject import Subject, told

if TYPE_CHECKING:
    from torch import nn

LEARNING = ("encoder", "fusion", "head")
"""Kinds that the core trains."""

STEPS = 3
"""After which a layer behind one that begins as zeros has a gradient."""

LEAST_COSINE = 0.98
"""Between outputs in bfloat16 and in float32: random tiny weights are the worst case."""


@check(*MODULES, needs=("builds",))
def answers(subject: Subject) -> None:
    """It is a ``torch.nn.Module`` that answers the kit's tiny inputs with finite numbers.

    Mend: return an nn.Module from the factory, and follow the error to the line that it came from.
    """
    from torch import nn

    if not isinstance(subject.built, nn.Module):
        fail(f"the factory returns a {type(subject.built).__name__}, which is no torch.nn.Module")
    for name, found in subject.answered.items():
        if not is_finite(found):
            fail(f"{name} hold NaN or infinity")


@check(*MODULES, needs=("answers",))
def inputs_unchanged(subject: Subject) -> None:
    """What it is given is the same afterwards: others read the same rows, batches and features.

    Mend: don't write into an argument (x += …, x[...] = …, list.append); make a new tensor or a copy.
    """
    kept = copy.deepcopy(subject.inputs)
    subject.answers()
    if names := changed(kept, subject.inputs):
        fail(f"it changes {', '.join(names)} of what it is given")


@check(*MODULES, needs=("inputs_unchanged",))
def deterministic_in_eval(subject: Subject) -> None:
    """In eval mode the same inputs give the same bits, whatever the global seed: features are computed once
    and used by many, and an answer must not depend on chance.

    Mend: draw noise only while self.training, and leave dropout to modules that follow .eval().
    """
    import torch

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(12345)
        again = subject.answers()
    for name, found in subject.answered.items():
        if difference := apart(found, again[name]):
            fail(f"{name} differ by {difference:.3g} when asked twice")


@check(*LEARNING, needs=("inputs_unchanged",))
def gradients_reach_parameters(subject: Subject) -> None:
    """A loss on what it gives has a finite gradient for every trainable parameter, somewhere other than zero,
    at once or after a few steps (layers may begin as zeros): one that has none never learns, and stops a run
    on several processes.

    Mend: look for .detach(), torch.no_grad(), .item(), a factor of zero or a layer that is never called; set
    requires_grad=False on what is not to be trained.
    """
    import torch

    module = subject.build()
    trained = {name: parameter for name, parameter in module.named_parameters() if parameter.requires_grad}
    if not trained:
        skip("it has nothing to train")
    optimizer = torch.optim.Adam(trained.values(), lr=0.01)
    silent = set(trained)
    for _ in range(STEPS):
        optimizer.zero_grad()
        with subject.watched():
            subject.exercise.loss(module, subject.inputs).backward()  # type: ignore[no-untyped-call]
        silent -= _reached(trained)
        if not silent:
            return
        optimizer.step()
    first = next(name for name in trained if name in silent)
    fail(f"the gradient of {first} is zero everywhere, in each of {STEPS} steps")


def _reached(trained: "Mapping[str, nn.Parameter]") -> set[str]:
    """Names of those whose gradient is not zero everywhere; fails where one has none, or no finite one."""
    for name, parameter in trained.items():
        if parameter.grad is None:
            fail(f"no gradient reaches {name}")
        if not is_finite(parameter.grad):
            fail(f"the gradient of {name} is NaN or infinite")
    return {name for name, one in trained.items() if one.grad is not None and one.grad.any()}


@check(*MODULES, needs=("deterministic_in_eval",))
def pickles_and_copies(subject: Subject) -> None:
    """It survives a deep copy and the way to another process: data loaders, servers and searches make copies
    of it.

    Mend: keep lambdas, open files, locks and classes made inside functions out of its attributes.
    """
    for how, twin in (("a deep copy", copy.deepcopy), ("the way to another process", _there_and_back)):
        try:
            made = twin(subject.built)
        except Exception as error:  # pickle raises whatever an attribute raises
            fail(f"{how} fails at {_culprit(subject.built, twin)}: {told(error)}")
        again = subject.answers(made)
        for name, found in subject.answered.items():
            if apart(found, again[name]):
                fail(f"after {how} {name} differ by {apart(found, again[name]):.3g}")


@check(*MODULES, needs=("answers",))
def seeded_build_repeats(subject: Subject) -> None:
    """Built twice under one seed of torch it has the same weights. An encoder has the same ones under any
    seed: its features are stored, and must be those of every later build.

    Mend: draw initial weights from torch alone; an encoder from a torch.Generator seeded by an option of its
    own.
    """
    import torch

    seeds = (0, 54321) if subject.kind == "encoder" else (0, 0)
    states = []
    for seed in seeds:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            states.append(subject.build().state_dict())
    for name, tensor in states[0].items():
        if difference := apart(tensor, states[1][name]):
            under = "two seeds of torch" if subject.kind == "encoder" else "one seed of torch"
            fail(f"built twice under {under}, {name} differs by {difference:.3g}")


@check(*MODULES, needs=("answers",))
def builds_on_meta(subject: Subject) -> None:
    """Built under ``torch.device("meta")`` its parameters take no memory and have the same names and shapes:
    sizes can be known, and weights loaded, without making them first.

    Mend: make tensors where torch's default device is (no device="cpu", no from_numpy), and don't read their
    values while building (.item(), .tolist()); load weights only where pretrained is true.
    """
    import torch

    try:
        with torch.device("meta"):
            made = subject.bare()
    except Exception as error:  # whatever it raises
        fail(f"it cannot be built there: {told(error)}")
    shapes = [{name: p.shape for name, p in one.named_parameters()} for one in (made, subject.built)]
    if odd := [
        name for name in shapes[0].keys() | shapes[1].keys() if shapes[0].get(name) != shapes[1].get(name)
    ]:
        fail(f"its parameters there have another shape: {', '.join(sorted(odd)[:3])}")
    if real := [name for name, parameter in made.named_parameters() if not parameter.is_meta]:
        fail(f"{real[0]} is on {made.get_parameter(real[0]).device.type}, not on meta")


@check(*LEARNING, needs=("answers", "deterministic_in_eval"))
def runs_in_bfloat16(subject: Subject) -> None:
    """An encoder with its weights in bfloat16, a head or fusion under autocast to it, gives finite outputs
    that agree with those in float32: the fastest way to run on most machines. Constants of modules without
    parameters stay in float32, as in a run.

    Mend: turn inputs to the dtype of the weights (x.to(self.linear.weight.dtype)), and sums and norms to
    float32.
    """
    import torch
    from torch.nn.functional import cosine_similarity

    from matrixhub.run.setting import Setting, running

    precision = "bfloat16" if subject.kind == "encoder" else "autocast"
    setting = Setting(precision, 1, channels_last=False)
    try:
        with running(subject.built, setting):
            found = subject.answers()
    except Exception as error:
        fail(f"it raises there: {told(error)}")
    for name, exact in subject.answered.items():
        if not is_finite(found[name]):
            fail(f"{name} hold NaN or infinity there")
        cosine = cosine_similarity(found[name].float().flatten(), exact.float().flatten(), dim=0)
        if torch.count_nonzero(exact) and float(cosine) < LEAST_COSINE:
            fail(f"{name} there have a cosine of {float(cosine):.3f} with those in float32")


def _there_and_back(module: "nn.Module") -> Any:
    """As multiprocessing sends an object to a new process."""
    return ForkingPickler.loads(io.BytesIO(ForkingPickler.dumps(module)).getvalue())


def _culprit(module: "nn.Module", twin: Any) -> str:
    """The attribute that cannot be copied."""
    for name, part in module.named_modules():
        for attribute, value in vars(part).items():
            if attribute.startswith("_") and attribute in ("_modules", "_parameters", "_buffers"):
                continue
            try:
                twin(value)
            except Exception:
                return f"{name}.{attribute}" if name else attribute
    return "itself"
