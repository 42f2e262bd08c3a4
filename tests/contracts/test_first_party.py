"""Every component that comes with MatrixHub passes the checks that it asks of others."""

import pytest

import matrixhub as mh
from matrixhub.plugins import hub
from matrixhub.testing import conformance
from matrixhub.testing.suite import Suite
from tests.contracts.tiny import EXPECTED, OPTIONS

FIRST_PARTY = ("core", "heads", "text", "vision", "demo", "fixture")

test_core = conformance("core", options=OPTIONS["core"])
test_heads = conformance("heads", options=OPTIONS["heads"])
test_text = conformance("text", options=OPTIONS["text"])
test_vision = conformance("vision", options=OPTIONS["vision"], expected_failures=EXPECTED)
test_demo = conformance("demo", options=OPTIONS["demo"])
test_fixture = conformance("fixture", options=OPTIONS["fixture"])

test_heads_on_two_ranks = pytest.mark.slow(conformance("heads", options=OPTIONS["heads"], slow=True))
test_text_on_two_ranks = pytest.mark.slow(conformance("text", options=OPTIONS["text"], slow=True))
test_vision_on_two_ranks = pytest.mark.slow(conformance("vision", options=OPTIONS["vision"], slow=True))
test_fixture_on_two_ranks = pytest.mark.slow(conformance("fixture", options=OPTIONS["fixture"], slow=True))


@pytest.mark.parametrize("namespace", FIRST_PARTY)
def test_nothing_is_left_unasked(namespace: str) -> None:
    """A component whose options must be filled in has a line in tiny.py."""
    declared = OPTIONS[namespace]
    for component in mh.list_components():
        if component.namespace == namespace:
            needy = "???" in vars(component.config()).values()
            keys = {key.partition("@")[0] for key in declared}
            assert not needy or f"{component.kind}.{component.alias}" in keys, component.name


def test_every_registered_component_is_enrolled() -> None:
    enrolled = {one.label for name in FIRST_PARTY for one in Suite(name, options=OPTIONS[name]).subjects}
    for component in hub().registry.of_kind():
        if component.namespace in FIRST_PARTY:
            assert f"{component.kind} {component.name}" in enrolled
