"""Checks of every component that is built: that it can be, and leaves the world as it was."""

import inspect

from matrixhub.registry import KINDS
from matrixhub.testing.check import Skipped, check, fail
from matrixhub.testing.subject import Subject, told
from matrixhub.testing.watch import random_states, seed_all


@check(*KINDS, needs=("options_match_factory",))
def works_offline(subject: Subject) -> None:
    """With declared or default options it is built and asked without a look at the network: products run on
    machines that have none, and tests must not depend on somebody else's server.

    Mend: fetch nothing while building; take a checkpoint by an option, and declare a small local one for the
    checks.
    """
    try:
        _ = subject.built
        if subject.exercise.is_module:
            _ = subject.answered
    except Exception as error:
        if not _addresses(subject):
            raise_skip(error)
    if addresses := _addresses(subject):
        fail(f"it tried to reach {', '.join(addresses)}")


def _addresses(subject: Subject) -> list[str]:
    """Hosts that it tried to reach when it was imported, built or asked."""
    return [*subject.parent.seen.addresses, *subject.seen.addresses]


@check(*KINDS, needs=("options_match_factory", "works_offline"))
def builds(subject: Subject) -> None:
    """The factory makes it from its options.

    Mend: build it in Python, matrixhub.create(KIND, NAME), and see; declare options where the defaults are
    too large.
    """
    try:
        _ = subject.built
    except Exception as error:
        raise_skip(error, skipped_only=True)
        fail(f"it cannot be built: {told(error)}")


@check(*KINDS, needs=("builds",))
def unknown_options_are_refused(subject: Subject) -> None:
    """The factory raises on a keyword that it does not know, where it could as well ignore it: a typing
    mistake in an option must never be silent.

    Mend: name every parameter; a factory of **options hands them to a dataclass or function that names them.
    """
    parameters = inspect.signature(subject.component.factory()).parameters.values()
    if not any(p.kind is p.VAR_KEYWORD for p in parameters):
        return
    try:
        subject.build(no_such_option=1)
    except Exception:  # whatever it raises, it was refused
        return
    fail("the factory takes no_such_option=1 and says nothing")


@check(*KINDS, needs=("builds", "answers"))
def no_side_effects(subject: Subject) -> None:
    """Importing, building and asking it leaves the process alone: working folder, environment, log handlers,
    torch's default dtype and thread count, and the seeds of random numbers. Other components live in the same
    process.

    Mend: take a torch.Generator of your own for seeded weights, and leave what is global to the application.
    """
    states = []
    for seed in (11, 22):
        seed_all(seed)
        module = subject.build()
        if subject.exercise.is_module:
            subject.answers(module)
        states.append(random_states())
    for place, difference in (subject.parent.seen.changed | subject.seen.changed).items():
        fail(f"it changes {place}: {difference}")
    same = [name for name in states[0].keys() & states[1].keys() if states[0][name] == states[1][name]]
    if same:
        fail(f"it seeds the global random numbers of {', '.join(sorted(same))}")


def raise_skip(error: Exception, *, skipped_only: bool = False) -> None:
    """Pass on why it was not built: a reason to skip as it is, a fault as one that ``builds`` tells."""
    if isinstance(error, Skipped):
        raise error
    if not skipped_only:
        raise Skipped(f"it cannot be built or asked: {told(error)}") from error
