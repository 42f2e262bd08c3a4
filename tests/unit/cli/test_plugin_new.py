"""What ``matrixhub plugin new`` writes, and the names that it refuses."""

import ast
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from matrixhub.cli.main import main
from matrixhub.registry import KINDS
from matrixhub.scaffold import names_of, render, template_of
from matrixhub.scaffold.package import TEMPLATES, bounds
from tests.command import command, python
from tests.new_plugin import NEW, New

LINES = {"new_image": 28, "new_other": 28, "new_generator": 44}
"""Of code that an author replaces, at most; 25 where nothing else is said."""


def rendered(new: New) -> dict[str, str]:
    return render(names_of(new.name), kind=new.kind, modality=new.modality)


def statements(text: str) -> int:
    """Lines of code below the imports: no blanks, comments or docstrings."""
    found: set[int] = set()
    for node in ast.walk(ast.parse(text)):
        match node:
            case ast.Expr(value=ast.Constant(value=str())) | ast.Import() | ast.ImportFrom():
                continue
            case ast.stmt(lineno=first, end_lineno=int(last)):
                below: list[ast.stmt] = getattr(node, "body", [])
                found |= set(range(first, max(first, below[0].lineno - 1 if below else last) + 1))
    lines = [line.strip() for line in text.splitlines()]
    return sum(bool(lines[number - 1]) and not lines[number - 1].startswith(('"', "#")) for number in found)


def test_there_is_one_of_each_kind() -> None:
    assert {new.kind for new in NEW} == set(KINDS)
    folders = {path.name for path in TEMPLATES.iterdir()}
    assert {template_of(new.kind, new.modality).folder for new in NEW} | {"common"} == folders


@pytest.mark.parametrize("new", NEW, ids=lambda new: new.name)
def test_a_package_is_whole(new: New) -> None:
    files = rendered(new)
    package = {Path(place).name for place in files if place.startswith(f"{new.name}/")}
    assert {"__init__.py", "plugin.py", "py.typed", template_of(new.kind, new.modality).file} <= package
    assert {"README.md", "LICENSE", ".gitignore", ".github/workflows/conformance.yml"} <= set(files)
    assert len(files["tests/test_conformance.py"].split("\n\n")) == 2
    project = tomllib.loads(files["pyproject.toml"])["project"]
    assert project["entry-points"]["matrixhub.plugins"] == {new.name: f"{new.name}.plugin"}
    assert project["dependencies"][0] == "matrixhub>=0.1,<0.2"
    assert new.component in files["README.md"]
    assert not [place for place, text in files.items() if "$" in text.replace("${{ matrix.python }}", "")]


@pytest.mark.parametrize("new", NEW, ids=lambda new: new.name)
def test_a_component_is_short(new: New) -> None:
    template = template_of(new.kind, new.modality)
    assert 5 < statements(rendered(new)[f"{new.name}/{template.file}"]) <= LINES.get(new.name, 25)


def test_the_code_is_clean(tmp_path: Path) -> None:
    for new in NEW:
        assert main(["plugin", "new", *new.argv, "--output", str(tmp_path / new.name)]) == 0
    ruff = [str(Path(sys.executable).parent / "ruff")]
    rules = "E,F,W,I,UP,B,A,C4,SIM,PTH,RUF"
    for argv in (["check", "--select", rules], ["format", "--check"]):
        done = subprocess.run(
            [*ruff, *argv, "--isolated", "--no-cache", str(tmp_path)],
            cwd=tmp_path,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stdout


def test_the_next_command_is_on_the_last_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = tmp_path / "a folder"
    folder.mkdir()
    assert main(["plugin", "new", "acme-words", "--kind", "head", "--output", str(folder)]) == 0
    *written, last = capsys.readouterr().out.splitlines()
    assert last == f"Next: cd '{folder}' && pip install -e . pytest && pytest"
    assert set(written) == {str(path) for path in folder.rglob("*") if path.is_file()}
    assert (folder / "acme_words" / "plugin.py").is_file()


def test_the_namespace_can_be_another(tmp_path: Path) -> None:
    argv = ["plugin", "new", "acme-words", "--kind", "head", "--namespace", "acme"]
    assert main([*argv, "--output", str(tmp_path)]) == 0
    assert 'acme = "acme_words.plugin"' in (tmp_path / "pyproject.toml").read_text()
    assert 'conformance("acme")' in (tmp_path / "tests" / "test_conformance.py").read_text()


@pytest.mark.parametrize(
    ("argv", "said"),
    [
        ("acme", "Say what it offers: --kind"),
        ("acme --knd head", "Did you mean '--kind'"),
        ("acme --kind encodr", "Did you mean 'encoder'?"),
        ("acme --kind head --modality text", "a head has none"),
        ("acme --kind encoder --modality Bad-x", "lower-case letters"),
        ("Acme! --kind head", "'Acme!' cannot be a plugin"),
        ("1acme --kind head", "'1acme' cannot be a plugin"),
        ("json --kind head", "a module of Python's own"),
        ("class --kind head", "a word of Python's own"),
        ("acme --kind head --namespace class", "a word of Python's own"),
        ("acme --kind head --namespace a-b", "--namespace a-b"),
        ("torch --kind head", "A package 'torch' is installed"),
        ("heads --kind head", "taken by matrixhub-heads"),
        ("acme --kind head --namespace core", "taken by matrixhub,"),
        ("acme --kind head --output full", "full is there and not empty"),
        ("acme --kind head --output full/file", "full/file is there and not empty"),
        ("acme --kind head --output full/file/acme", "cannot be written"),
    ],
)
def test_what_cannot_be_is_refused_and_nothing_written(
    argv: str,
    said: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "file").touch()
    monkeypatch.chdir(tmp_path)
    assert main(["plugin", "new", *argv.split()]) == 2
    assert said in capsys.readouterr().err
    assert list(tmp_path.rglob("*")) == [tmp_path / "full", tmp_path / "full" / "file"]


@pytest.mark.parametrize(
    ("version", "range_"),
    [("0.1.0", ">=0.1,<0.2"), ("0.12.3", ">=0.12,<0.13"), ("1.4.0", ">=1.4,<2"), ("2.0.0rc1", ">=2.0,<3")],
)
def test_the_requirement_ends_where_promises_do(version: str, range_: str) -> None:
    assert bounds(version) == range_


def test_it_answers_at_once_and_without_torch(tmp_path: Path) -> None:
    code = """
import json, os, sys
from matrixhub.cli.main import main
assert main(sys.argv[1:]) == 0
heavy = {"torch", "numpy", "pyarrow", "hydra"} & set(sys.modules)
print(json.dumps([sorted(heavy), sum(os.times()[:2])]))
"""
    heavy, seconds = python(code, "plugin", "new", "acme", "--kind", "encoder", cwd=tmp_path)
    assert heavy == []
    assert seconds < 1, "several times what it takes, for slow machines"


def test_the_command_is_one_of_plugins(tmp_path: Path) -> None:
    assert "  new " in command("plugin", "--help").stdout
    done = command("plugin", "new", "acme", "--kind", "source", cwd=tmp_path)
    assert done.returncode == 0 and done.stdout.splitlines()[0] == "acme/.github/workflows/conformance.yml"
