"""Public names and hooks are documented, and the page for plugin authors is true."""

import ast
import importlib
import inspect
import itertools
import json
import re
import tomllib
from pathlib import Path

import pytest

import matrixhub as mh
from matrixhub import hookspecs
from tests.command import command, python

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


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", PAGE, re.DOTALL)


@pytest.fixture
def acme(tmp_path: Path) -> Path:
    """A folder where the page's example is installed."""
    package, info = tmp_path / "acme_words", tmp_path / "acme_words-0.1.0.dist-info"
    package.mkdir()
    info.mkdir()
    for code in blocks("python"):
        (tmp_path / code.splitlines()[0].removeprefix("# ")).write_text(code)
    (toml,) = map(tomllib.loads, blocks("toml"))
    project = toml["project"]
    (info / "METADATA").write_text(f"Name: {project['name']}\nVersion: {project['version']}\n")
    ((group, points),) = project["entry-points"].items()
    lines = [f"{name} = {target}" for name, target in points.items()]
    (info / "entry_points.txt").write_text("\n".join([f"[{group}]", *lines]))
    for preset in blocks("yaml"):
        path = tmp_path / preset.splitlines()[0].removeprefix("# ")
        path.parent.mkdir(parents=True)
        path.write_text(preset)
    return tmp_path


def test_the_example_is_short_and_whole(acme: Path) -> None:
    model = (acme / "acme_words" / "model.py").read_text()
    assert len([line for line in model.splitlines() if line.strip()]) <= 30
    listed = command("list", "encoder", site=acme)
    assert "acme.words" in listed.stdout
    assert "set aside" not in listed.stdout
    assert "encoder.text.dim: int, default 64\n      Width" in command("show", "acme.words", site=acme).stdout


def test_the_example_encodes_alone_as_in_a_batch(acme: Path) -> None:
    code = """
import json
import matrixhub as mh
encoder = mh.create("encoder", "acme.words", dim=5)
one, two = (encoder.encode(texts).pooled_BD for texts in (["a b"], ["a b", "c d e", ""]))
print(json.dumps([list(two.shape), bool((one[0] - two[0]).abs().max() < 1e-5)]))
"""
    assert python(code, site=acme) == [[3, 5], True]


def test_the_commands_of_the_page(acme: Path) -> None:
    install, show, run = blocks("sh")[0].splitlines()
    assert install == "pip install -e ."
    assert command(*show.split()[1:], site=acme).returncode == 0
    (acme / "tickets.csv").write_text("text,label\na,b\n")
    planned = command("plan", *run.split()[2:], site=acme, cwd=acme)
    assert planned.returncode == 0, planned.stderr
    assert "acme.words over core.table.text" in planned.stdout


def test_the_preset_of_the_page(acme: Path) -> None:
    conf = acme / "acme_words" / "conf"
    argv = ("product=toy", "encoder/text=wide", "--json", "--config-dir", str(conf))
    (cell,) = json.loads(command("plan", *argv, site=acme).stdout)["cells"]
    assert cell["encoder"]["text"] == {"name": "acme.words", "dim": 512}


@pytest.mark.slow
def test_the_example_makes_a_product(acme: Path, tmp_path: Path) -> None:
    run = blocks("sh")[0].splitlines()[-1]
    rows = "".join(f"{word} thing {i},{word}\n" for i in range(60) for word in ("good", "bad"))
    (tmp_path / "tickets.csv").write_text("text,label\n" + rows)
    extra = ["trainer.epochs=2", f"cache_dir={tmp_path / 'cache'}"]
    done = command(*run.split()[1:], *extra, site=acme, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "acme.words" in done.stdout
