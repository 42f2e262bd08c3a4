"""What a check is: a function that asks one thing of one subject, named and explained by itself.

Its docstring is what an author reads: first what it asks and why, then a paragraph that begins with
``Mend:``.
"""

import inspect
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, NoReturn

MODULES = ("encoder", "fusion", "head", "generator")
"""Kinds that are ``torch.nn.Module``."""

PLUGIN, COMPONENT = "plugin", "component"
"""Kinds of subjects that are not built: a whole plugin, and a component of any kind as it was registered."""

MEND = "Mend:"


class Failed(AssertionError):  # noqa: N818 - as pytest has it
    """What a check saw and should not have seen: figures, the row, the parameter's name."""


class Skipped(Exception):  # noqa: N818 - it is no error
    """Why a check has nothing to ask here."""

    blocks = False


class Blocked(Skipped):
    """Why a check cannot be asked; nor can those that need it."""

    blocks = True


@dataclass(frozen=True, slots=True)
class Check:
    """One thing that is asked of a subject.

    Attributes:
        run: takes the subject; returns where all is well, raises ``Failed`` or ``Skipped``.
        kinds: of the subjects it is for: ``plugin``, ``component``, or kinds of components.
        needs: names of checks without which it would mislead; it is skipped where one of them fails.
        slow: takes many seconds, and runs only when it is asked for.
    """

    run: Callable[[Any], None]
    kinds: tuple[str, ...]
    needs: tuple[str, ...] = ()
    slow: bool = False

    @property
    def name(self) -> str:
        """As it is declared, reported and typed."""
        return self.run.__name__

    @property
    def asks(self) -> str:
        """What is asked and why, on one line."""
        return _one_line(inspect.getdoc(self.run) or "").partition(f" {MEND}")[0]

    @property
    def mend(self) -> str:
        """What an author does about it, on one line."""
        return _one_line(inspect.getdoc(self.run) or "").partition(f"{MEND} ")[2]


CHECKS: list[Check] = []
"""All of them, in the order in which they run."""


def check(
    *kinds: str, needs: Iterable[str] = (), slow: bool = False
) -> Callable[[Callable[[Any], None]], Callable[[Any], None]]:
    """Enrol the function below as a check of subjects of these kinds."""

    def enrol(run: Callable[[Any], None]) -> Callable[[Any], None]:
        CHECKS.append(Check(run, kinds, tuple(needs), slow))
        return run

    return enrol


def fail(seen: str) -> NoReturn:
    """Say what was seen. How to mend it is in the docstring of the check, and is printed below."""
    raise Failed(seen)


def skip(reason: str) -> NoReturn:
    """Say why there is nothing to ask."""
    raise Skipped(reason)


def _one_line(text: str) -> str:
    return " ".join(text.split())
