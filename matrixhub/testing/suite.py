"""Runs checks over the components of one plugin, each once, and says how each went."""

import time
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import Any

from matrixhub.errors import UnknownNameError
from matrixhub.plugins import Hub, hub
from matrixhub.registry import Component
from matrixhub.testing import checks  # noqa: F401 - enrols all checks
from matrixhub.testing.check import CHECKS, PLUGIN, Blocked, Check, Failed, Skipped
from matrixhub.testing.declared import Options, merged, read_declared
from matrixhub.testing.subject import AnySubject, ComponentSubject, PluginSubject, Subject, told
from matrixhub.types import TASKS


class Outcome(StrEnum):
    """How a check went."""

    PASSED = "passed"
    FAILED = "failed"
    EXPECTED = "failed as expected"
    STALE = "passed though declared to fail"
    SKIPPED = "skipped"


BAD = (Outcome.FAILED, Outcome.STALE)


@dataclass(frozen=True, slots=True)
class Result:
    """One check of one subject.

    Attributes:
        subject: such as ``encoder acme.vit``.
        check: its name.
        outcome: how it went.
        seen: what was wrong, or why it was skipped.
        mend: what to do about it.
        seconds: that it took.
        blocks: whether checks that need this one cannot be asked either.
    """

    subject: str
    check: str
    outcome: Outcome
    seen: str = ""
    mend: str = ""
    seconds: float = 0.0
    blocks: bool = False

    @property
    def is_bad(self) -> bool:
        """Whether something is to be done."""
        return self.outcome in BAD

    @property
    def text(self) -> str:
        """What was seen, and on a line of its own what to do."""
        return f"{self.seen}\nMend: {self.mend}" if self.mend else self.seen

    def to_dict(self) -> dict[str, Any]:
        plain = {**asdict(self), "outcome": str(self.outcome), "seconds": round(self.seconds, 3)}
        del plain["blocks"]
        return plain


@dataclass(frozen=True, slots=True)
class Case:
    """One check of one subject, to be run."""

    suite: "Suite"
    subject: AnySubject
    check: Check

    @property
    def label(self) -> str:
        """Such as ``encoder acme.vit: independent_of_padding``."""
        return f"{self.subject.label}: {self.check.name}"

    def run(self) -> Result:
        """Run it, or say how it went before."""
        return self.suite.result(self.subject, self.check)


class Suite:
    """The checks of one plugin.

    Args:
        namespace: of an installed plugin.
        options: as for ``conformance``.
        expected_failures: as for ``conformance``.

    Raises:
        UnknownNameError: no plugin of that name is installed.
        ConfigError: its ``conformance.toml`` cannot be used, or what is declared names nothing.
    """

    def __init__(
        self,
        namespace: str,
        *,
        options: Mapping[str, Options] | None = None,
        expected_failures: Mapping[str, Mapping[str, str]] | None = None,
    ) -> None:
        self.hub: Hub = hub()
        names = {plugin.namespace for plugin in self.hub.plugins}
        if namespace not in names:
            raise UnknownNameError("plugin", namespace, names, "Install it: pip install -e .")
        self.plugin = PluginSubject(namespace, self.hub)
        self.declared = merged(read_declared(self.plugin.folder), options, expected_failures)
        self.components = [c for c in self.hub.registry.of_kind() if c.namespace == namespace]
        self.subjects = [self.plugin, *(one for c in self.components for one in self._subjects(c))]
        self._results: dict[tuple[int, str], Result] = {}
        self._refuse_unknown()

    def _subjects(self, component: Component) -> Iterator[ComponentSubject | Subject]:
        """As it is registered, and each way to build it."""
        registered = ComponentSubject(component, self.plugin)
        yield registered
        tasks = [task for task in component.produces if task in TASKS] if component.kind == "head" else []
        for variant in self.declared.variants(registered.key):
            key = f"{registered.key}@{variant}" if variant else registered.key
            for task in tasks or [""]:
                yield Subject(
                    component,
                    registered,
                    declared=self.declared.options.get(key),
                    variant=variant,
                    task=task,
                    rows=dict(self.declared.rows),
                )

    def _refuse_unknown(self) -> None:
        if self.plugin.plugin.fault:
            return  # it offers nothing: whatever was declared is about what it would offer
        known = {PLUGIN, *(f"{c.kind}.{c.alias}" for c in self.components)}
        names = {one.name for one in CHECKS}
        for key in (*self.declared.options, *self.declared.expected_failures):
            if key.partition("@")[0] not in known:
                raise UnknownNameError(f"component of '{self.plugin.namespace}'", key, known)
        for key, failures in self.declared.expected_failures.items():
            component, _, variant = key.partition("@")
            if variant and variant not in (variants := self.declared.variants(component)):
                raise UnknownNameError(
                    f"way to build '{component}'", variant, [one for one in variants if one]
                )
            for name in failures.keys() - names:
                raise UnknownNameError("check", name, names)

    def cases(self, *, slow: bool = False) -> list[Case]:
        """Every check of every subject; the slow ones only where they are asked for."""
        return [
            Case(self, subject, check)
            for subject in self.subjects
            for check in CHECKS
            if subject.kind in check.kinds and (slow or not check.slow)
        ]

    def result(self, subject: AnySubject, check: Check) -> Result:
        """How a check of a subject goes; it runs once."""
        key = (id(subject), check.name)
        if key not in self._results:
            self._results[key] = self._run(subject, check)
        return self._results[key]

    def _run(self, subject: AnySubject, check: Check) -> Result:
        started = time.perf_counter()
        outcome, seen, mend, blocks = Outcome.PASSED, "", "", False
        try:
            self._need(subject, check)
            check.run(subject)
        except Skipped as skipped:
            outcome, seen, blocks = Outcome.SKIPPED, str(skipped), skipped.blocks
        except Failed as failure:
            outcome, seen, mend = Outcome.FAILED, str(failure), check.mend
        except Exception as error:  # whatever a third party raises is that check's failure
            outcome, seen = Outcome.FAILED, f"it raised {told(error)}"
        reason = self.declared.reason(subject.key, subject.variant, check.name)
        if reason is not None and outcome is Outcome.FAILED:
            outcome, seen, mend = Outcome.EXPECTED, f"{reason} ({seen})", ""
        elif reason is not None and outcome is Outcome.PASSED:
            outcome, seen = Outcome.STALE, f"it is declared to fail: {reason}"
            mend = f"Take '{check.name}' out of its expected failures."
        return Result(subject.label, check.name, outcome, seen, mend, time.perf_counter() - started, blocks)

    def _need(self, subject: AnySubject, check: Check) -> None:
        """Run what a check builds on first.

        Raises:
            Blocked: one of these failed, or could not be asked.
        """
        for name in check.needs:
            owner, needed = _needed(subject, name)
            if needed is None or owner is None:
                continue
            found = self.result(owner, needed)
            if found.blocks:
                raise Blocked(found.seen)
            if found.outcome is Outcome.FAILED:
                raise Blocked(f"not asked while {name} fails")


def _needed(subject: AnySubject, name: str) -> tuple[AnySubject | None, Check | None]:
    """The check of that name for the subject or what it is made from."""
    owner: AnySubject | None = subject
    while owner is not None:
        for check in CHECKS:
            if check.name == name and owner.kind in check.kinds:
                return owner, check
        owner = owner.parent
    return None, None


def conformance(
    namespace: str,
    *,
    options: Mapping[str, Options] | None = None,
    expected_failures: Mapping[str, Mapping[str, str]] | None = None,
    slow: bool = False,
) -> Any:
    """A test function for pytest, with one case for each check of each component of a plugin.

    Args:
        namespace: of the installed plugin.
        options: how to build a component small: ``{"encoder.vit": {...}}``, or a callable from an empty
            folder to such a mapping; several ways to build one are ``"encoder.vit@small"`` and the like.
        expected_failures: ``{"encoder.vit": {"independent_of_padding": "why"}}``; to pass is then a failure.
        slow: the slow checks instead of all others.

    Raises:
        UnknownNameError: no plugin of that name is installed, or what is declared names nothing.
    """
    import pytest

    cases = [
        case
        for case in Suite(namespace, options=options, expected_failures=expected_failures).cases(slow=slow)
        if case.check.slow == slow
    ]

    @pytest.mark.parametrize("case", cases, ids=lambda case: case.label)
    def test_conformance(case: Case) -> None:
        report(case.run())

    return test_conformance


def report(result: Result) -> None:
    """Tell pytest how a check went."""
    import pytest

    match result.outcome:
        case Outcome.SKIPPED:
            pytest.skip(result.seen)
        case Outcome.EXPECTED:
            pytest.xfail(result.seen)
        case Outcome.FAILED | Outcome.STALE:
            pytest.fail(result.text, pytrace=False)
