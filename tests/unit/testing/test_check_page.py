"""The page for authors is made of the docstrings of the checks, and each of these says what it must."""

from pathlib import Path

import pytest

import matrixhub
from matrixhub.testing import CHECKS, Check
from matrixhub.testing.page import table

PAGE = Path(matrixhub.__file__).parent.parent / "docs" / "authors" / "conformance.md"


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.name)
def test_a_check_says_what_it_asks_and_how_to_mend_it(check: Check) -> None:
    assert len(check.asks) > 20 and len(check.mend) > 20
    assert "Mend:" not in check.asks


def test_the_table_of_the_page_is_theirs() -> None:
    """After a change: print(matrixhub.testing.page.table()) below the heading "The checks"."""
    assert PAGE.read_text().partition("## The checks\n\n")[2].rstrip() == table()


def test_names_are_unique_and_needs_exist() -> None:
    names = [check.name for check in CHECKS]
    assert len(names) == len(set(names))
    assert {need for check in CHECKS for need in check.needs} <= set(names)
