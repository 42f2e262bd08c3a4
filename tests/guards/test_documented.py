"""Public names and hooks are documented."""

import ast
import importlib
import inspect
import itertools
import re
from pathlib import Path

import pytest

import matrixhub as mh
from matrixhub import hookspecs

ROOT = Path(mh.__file__).parent.parent
PAGE = (ROOT / "docs" / "plugins.md").read_text()
HOOKS = [name for name in vars(hookspecs) if name.startswith("matrixhub_")]


def test_the_hooks_fit_on_one_screen() -> None:
    assert 0 < len(HOOKS) <= 8


@pytest.mark.parametrize("name", HOOKS)
def test_every_hook_is_documented_with_its_parameters(name: str) -> None:
    hook = getattr(hookspecs, name)
    assert hook.__doc__
    parameters = ", ".join(inspect.signature(hook).parameters)
    assert f"`{name}({parameters})`" in PAGE


def test_no_hook_is_documented_that_does_not_exist() -> None:
    assert set(re.findall(r"matrixhub_(?:components|config_\w+|check|run_\w+|cell_\w+|cli)", PAGE)) <= set(
        HOOKS
    )


def below_assignments(module: str) -> dict[str, str]:
    """String literals that follow an assignment: how values are documented."""
    found: dict[str, str] = {}
    for node in ast.walk(ast.parse(inspect.getsource(importlib.import_module(module)))):
        for body in (getattr(node, "body", None), getattr(node, "orelse", None)):
            statements = body if isinstance(body, list) else []
            for one, below in itertools.pairwise(statements):
                match one, below:
                    case (
                        ast.Assign(targets=[ast.Name(id=name)]) | ast.AnnAssign(target=ast.Name(id=name)),
                        ast.Expr(value=ast.Constant(value=str(doc))),
                    ):
                        found[name] = doc
    return found


@pytest.mark.parametrize("name", mh.__all__)
def test_every_public_name_is_documented(name: str) -> None:
    value = getattr(mh, name)
    ours = getattr(value, "__module__", "").startswith("matrixhub.")
    if ours and (inspect.isclass(value) or inspect.isfunction(value)):
        assert value.__doc__ and not value.__doc__.startswith(f"{name}("), "no docstring"
    else:
        assert below_assignments(mh._HOME_OF[name]).get(name), "no text below the assignment"


def test_public_names_are_sorted_found_and_complete() -> None:
    assert sorted(mh.__all__) == sorted(mh._HOME_OF)
    assert set(mh.__all__) <= set(dir(mh))
    with pytest.raises(AttributeError, match="no attribute 'nonsense'"):
        _ = mh.nonsense
