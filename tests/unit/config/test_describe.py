"""Options of a component for people."""

from dataclasses import dataclass, field, make_dataclass
from typing import Any

from matrixhub.config.describe import describe
from matrixhub.types import MISSING


@dataclass
class Parent:
    """One."""

    size: int = 3
    """How large."""
    path: str = MISSING
    """Where from.

    Absolute or not.
    """
    bare: bool = True


@dataclass
class Child(Parent):
    """Two."""

    size: int = 5
    """How large, for children."""
    names: list[str] = field(default_factory=lambda: ["a"])
    """Who."""
    anything: Any = None
    limit: int | None = None


def test_types_defaults_and_docs_in_order_and_inherited() -> None:
    said = [(o.name, o.type, o.default, o.doc, o.required) for o in describe(Child)]
    assert said == [
        ("size", "int", 5, "How large, for children.", False),
        ("path", "str", "???", "Where from.\n\nAbsolute or not.", True),
        ("bare", "bool", True, "", False),
        ("names", "list[str]", ["a"], "Who.", False),
        ("anything", "Any", None, "", False),
        ("limit", "int | None", None, "", False),
    ]


def test_a_dataclass_without_source_is_described_without_docs() -> None:
    made = make_dataclass("Made", [("size", int, 1)])
    assert [(o.name, o.type, o.doc) for o in describe(made)] == [("size", "int", "")]
