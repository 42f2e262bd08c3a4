"""The public surface changes on purpose only."""

import difflib

from tests.guards.surface import FROZEN, surface

ACCEPT = """
The public surface has changed:

{changes}

If that is on purpose, accept it with: python -m tests.guards.surface
A name, argument, option or field that is new needs a line in CHANGELOG.md. One that is gone, renamed, or has
another type or default breaks those who use it: warn one release ahead (docs/compatibility.md), say in
CHANGELOG.md under "Changed" or "Removed" what to write in its place, and where a plugin is concerned raise
API_VERSION in matrixhub/hookspecs.py.
"""


def changes(before: str, after: str) -> str:
    lines = difflib.unified_diff(before.splitlines(), after.splitlines(), "frozen", "now", lineterm="", n=1)
    return "\n".join(lines)


def test_the_public_surface_is_the_frozen_one() -> None:
    found = changes(FROZEN.read_text(), surface())
    assert not found, ACCEPT.format(changes=found)


def test_all_that_others_build_on_is_in_it() -> None:
    text = surface()
    for line in (
        "version 1, oldest 1",
        "matrixhub_components(register: Register) -> None",
        "class Encoder(Protocol)",
        "    --config-dir",
        "class TrainerConfig()",
        "MATRIXHUB_STRICT",
        "fusion core.concat () -> ()",
    ):
        assert line in text.splitlines(), line


def test_a_change_is_shown() -> None:
    assert changes("a\nb: int = 1\n", "a\nb: int = 2\n").splitlines()[-2:] == ["-b: int = 1", "+b: int = 2"]
