"""What others build on, as text: run this file to accept a change of it on purpose.

Read from the source, not from the running objects, so that every version of Python writes the same.
"""

import ast
import contextlib
import importlib
import inspect
import re
import textwrap
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from unittest.mock import patch

import matrixhub as mh
from matrixhub import hookspecs, testing
from matrixhub.cli import plugin
from matrixhub.cli.main import COMMANDS, Parser
from matrixhub.config import schema
from matrixhub.plugins import hub

ROOT = Path(mh.__file__).parent.parent
FROZEN = Path(__file__).with_name("surface.txt")
HOMES = {"CHECKS": "matrixhub.testing.check"}
SPECIAL = ("__init__", "__call__")
Function = ast.FunctionDef | ast.AsyncFunctionDef


def surface() -> str:
    """All of it, one thing a line."""
    sections = {
        "plugin API": [f"version {hookspecs.API_VERSION}, oldest {hookspecs.OLDEST_API}"],
        "hooks": hooks(),
        "public names": [line for name in mh.__all__ for line in named(home(mh, name), name)],
        "conformance kit": [
            line for name in testing.__all__ for line in named(home(testing, name), name)
        ],
        "commands": commands(),
        "config": [line for name in schema_names() for line in named(schema.__name__, name)],
        "components": components(),
        "environment": environment(),
    }  # fmt: skip
    return "".join(
        f"# {title}\n" + "".join(f"{line}\n" for line in lines) + "\n" for title, lines in sections.items()
    )


def home(package: ModuleType, name: str) -> str:
    """The module that defines a name; a plain value knows none of its own."""
    known = getattr(getattr(package, name), "__module__", "")
    return known if known.startswith("matrixhub.") else HOMES.get(name, mh._HOME_OF.get(name, ""))


def hooks() -> list[str]:
    tree = ast.parse(inspect.getsource(hookspecs))
    return [signature(node) for node in tree.body if isinstance(node, Function)]


def named(module: str, name: str) -> list[str]:
    """A public function, class or value as its home defines it."""
    for node in ast.walk(ast.parse(inspect.getsource(importlib.import_module(module)))):
        match node:
            case ast.FunctionDef(name=found) if found == name:
                return [signature(node)]
            case ast.ClassDef(name=found) if found == name:
                return list(members(node))
            case ast.Assign(targets=[ast.Name(id=found)]) if found == name:
                return [ast.unparse(node)]
            case ast.AnnAssign(target=ast.Name(id=found)) if found == name:
                return [ast.unparse(node)]
    raise LookupError(name)


def members(node: ast.ClassDef) -> Iterator[str]:
    """A class with its bases; below it fields and public methods."""
    yield f"class {node.name}({', '.join(map(ast.unparse, node.bases))})"
    for child in node.body:
        match child:
            case ast.AnnAssign(target=ast.Name(id=name)) if not name.startswith("_"):
                yield f"    {ast.unparse(child)}"
            case ast.FunctionDef(name=name) if not name.startswith("_") or name in SPECIAL:
                marks = "".join(f"@{ast.unparse(mark)} " for mark in child.decorator_list)
                yield f"    {marks}{signature(child)}"


def signature(node: Function) -> str:
    gives = f" -> {ast.unparse(node.returns)}" if node.returns else ""
    return f"{node.name}({ast.unparse(node.args)}){gives}"


def schema_names() -> list[str]:
    return [node.name for node in ast.parse(inspect.getsource(schema)).body if isinstance(node, ast.ClassDef)]


class Made(Exception):  # noqa: N818
    """A command has made its parser."""


def commands() -> list[str]:
    """Every command with its arguments, as its parser knows them."""
    lines: list[str] = []
    modules = {f"matrixhub {name}": f"matrixhub.cli.{name}" for name in COMMANDS if name != "plugin"}
    modules |= {f"matrixhub plugin {name}": f"matrixhub.cli.plugin_{name}" for name in plugin.COMMANDS}
    for command, module in modules.items():
        lines.append(command)
        lines += [f"    {line}" for line in sorted(arguments(parser_of(module)))]
    return lines


def parser_of(module: str) -> Parser:
    made: list[Parser] = []

    def stop(self: Parser, *_: object, **__: object) -> None:
        made.append(self)
        raise Made

    with (
        patch.object(Parser, "parse_args", stop),
        patch.object(Parser, "parse_intermixed_args", stop),
        contextlib.suppress(Made),
    ):
        importlib.import_module(module).main([])
    return made[-1]


def arguments(parser: Parser) -> Iterator[str]:
    for action in parser._actions:
        choices = action.choices if isinstance(action.choices, dict) else {}
        for name, below in choices.items():
            yield from (f"{name} {line}" for line in arguments(below))
        if not choices and "--help" not in action.option_strings:
            shown = ", ".join(action.option_strings) or str(action.metavar or action.dest)
            yield f"{shown} {action.nargs or ''}".rstrip()


def components() -> list[str]:
    """Of the core and the first-party plugins: kind, name, what is read and given; below it the options."""
    lines = []
    for one in hub().registry.of_kind():
        if one.namespace in {"core", *(path.name.partition("-")[2] for path in (ROOT / "plugins").iterdir())}:
            lines.append(f"{one.kind} {one.name} ({', '.join(one.consumes)}) -> ({', '.join(one.produces)})")
            for parent in reversed(one.config.__mro__[:-1]):
                (node,) = ast.parse(textwrap.dedent(inspect.getsource(parent))).body
                assert isinstance(node, ast.ClassDef)
                lines += list(members(node))[1:]
    return lines


def environment() -> list[str]:
    """Variables that the source reads."""
    found = (
        re.findall(r"\bMATRIXHUB_[A-Z]+\b", path.read_text()) for path in (ROOT / "matrixhub").rglob("*.py")
    )
    return sorted({name for names in found for name in names})


if __name__ == "__main__":
    FROZEN.write_text(surface())
