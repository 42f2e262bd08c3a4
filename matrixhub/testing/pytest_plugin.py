"""``pytest -p matrixhub.testing.pytest_plugin --matrixhub acme``: checks of a plugin without a test file."""

from collections.abc import Iterator
from typing import Any

import pytest

from matrixhub.testing.suite import Case, Suite, report


def pytest_addoption(parser: pytest.Parser) -> None:
    """Which plugins are checked, and how much."""
    group = parser.getgroup("matrixhub")
    group.addoption("--matrixhub", action="append", default=[], metavar="NAMESPACE", help="check this plugin")
    group.addoption("--matrixhub-slow", action="store_true", help="also the checks that take many seconds")


def pytest_collection_modifyitems(
    session: pytest.Session, config: pytest.Config, items: list[pytest.Item]
) -> None:
    """Add an item for each check."""
    for namespace in config.getoption("--matrixhub"):
        items += _items(session, namespace, slow=config.getoption("--matrixhub-slow"))


def _items(session: pytest.Session, namespace: str, *, slow: bool) -> Iterator["CaseItem"]:
    for case in Suite(namespace).cases(slow=slow):
        yield CaseItem.from_parent(session, name=case.label, case=case)


class CaseItem(pytest.Item):
    """One check of one component."""

    def __init__(self, *, case: Case, **options: Any) -> None:
        super().__init__(**options)
        self.case = case

    def runtest(self) -> None:
        """Run it."""
        report(self.case.run())
