"""Which first-party package brings what: a name of one that is not installed can then say what to type."""

import json
from pathlib import Path

HOMES: dict[str, dict[str, str]] = json.loads(Path(__file__).with_suffix(".json").read_text("utf-8"))
"""Names by package, for each Hydra group and for commands."""


def home_of(group: str, name: str) -> str:
    """The first-party package that a name comes with, or nothing; ``namespace.name`` tells by itself."""
    namespace, dot, _ = name.partition(".")
    if dot:
        package = f"matrixhub-{namespace}"
        return package if any(package in found for found in HOMES.values()) else ""
    return next((package for package, names in HOMES.get(group, {}).items() if name in names.split()), "")
