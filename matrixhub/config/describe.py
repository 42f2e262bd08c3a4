"""A component's options for people: types, defaults, and the docstring below each field."""

import ast
import dataclasses
import inspect
import textwrap
from dataclasses import dataclass
from typing import Any, get_type_hints


@dataclass(frozen=True, slots=True)
class Option:
    """One field of a component's config."""

    name: str
    type: str
    default: Any
    doc: str

    @property
    def required(self) -> bool:
        """Whether the user must fill it in."""
        return bool(self.default == "???")


def describe(config: type) -> list[Option]:
    """Options of a config dataclass, in order."""
    hints = get_type_hints(config)
    docs = _field_docs(config)
    defaults = config()
    return [
        Option(f.name, _type_name(hints[f.name]), getattr(defaults, f.name), docs.get(f.name, ""))
        for f in dataclasses.fields(config)
    ]


def _type_name(hint: Any) -> str:
    return (
        hint.__name__
        if isinstance(hint, type) and not hasattr(hint, "__args__")
        else str(hint).replace("typing.", "")
    )


def _field_docs(config: type) -> dict[str, str]:
    """String literals that follow a field; empty where there is no source to read."""
    docs: dict[str, str] = {}
    for parent in reversed(config.__mro__):
        if not dataclasses.is_dataclass(parent):
            continue
        try:
            tree = ast.parse(textwrap.dedent(inspect.getsource(parent))).body[0]
        except (OSError, TypeError, SyntaxError):
            continue
        assert isinstance(tree, ast.ClassDef)
        for field, below in zip(tree.body, tree.body[1:], strict=False):
            match field, below:
                case ast.AnnAssign(target=ast.Name(id=name)), ast.Expr(value=ast.Constant(value=str(doc))):
                    docs[name] = inspect.cleandoc(doc)
    return docs
