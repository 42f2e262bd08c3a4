"""House rules that a tool can check: sizes, words, and what never happens in the source."""

import ast
import io
import re
import subprocess
import sys
import tokenize
from collections.abc import Iterator
from pathlib import Path

import pytest

import matrixhub

ROOT = Path(matrixhub.__file__).parent.parent
CORE = sorted((ROOT / "matrixhub").rglob("*.py"))
PLUGINS = sorted(path for path in (ROOT / "plugins").glob("*/matrixhub_*/**/*.py"))
TESTS = sorted([*(ROOT / "tests").rglob("*.py"), *(ROOT / "plugins").glob("*/tests/**/*.py")])
SOURCE = CORE + PLUGINS
EVERYTHING = SOURCE + TESTS
Function = ast.FunctionDef | ast.AsyncFunctionDef


def label(path: Path) -> str:
    return str(path.relative_to(ROOT))


def functions(path: Path) -> Iterator[Function]:
    return (node for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, Function))


def code_lines(path: Path) -> int:
    """Lines that hold code: no blanks, comments or docstrings."""
    text = path.read_text()
    lines: set[int] = set()
    silent = (
        tokenize.COMMENT, tokenize.NL, tokenize.NEWLINE, tokenize.INDENT, tokenize.DEDENT,
        tokenize.ENCODING, tokenize.ENDMARKER,
    )  # fmt: skip
    for token in tokenize.tokenize(io.BytesIO(text.encode()).readline):
        if token.type not in silent:
            lines |= set(range(token.start[0], token.end[0] + 1))
    for node in ast.walk(ast.parse(text)):
        if (
            isinstance(node, ast.Expr)
            and isinstance(node.value, ast.Constant)
            and isinstance(node.value.value, str)
        ):
            lines -= set(range(node.lineno, (node.end_lineno or node.lineno) + 1))
    return len(lines)


def test_the_files_are_found() -> None:
    assert len(CORE) > 40 and len(PLUGINS) > 10 and len(TESTS) > 20


@pytest.mark.parametrize("path", EVERYTHING, ids=label)
def test_no_file_is_over_400_lines(path: Path) -> None:
    assert len(path.read_text().splitlines()) <= 400


@pytest.mark.parametrize("path", SOURCE, ids=label)
def test_no_function_is_over_60_lines(path: Path) -> None:
    long = {f.name: size for f in functions(path) if (size := (f.end_lineno or 0) - f.lineno + 1) > 60}
    assert long == {}


def test_the_core_stays_within_its_budget() -> None:
    """The budget and what it is spent on: docs/decisions/0006-size-of-the-core.md."""
    beside = [ROOT / "matrixhub" / name for name in ("testing", "scaffold")]
    total = sum(code_lines(path) for path in CORE if not any(path.is_relative_to(b) for b in beside))
    assert total < 13_100, f"{total} lines of code"


def test_files_and_functions_are_short_in_the_middle() -> None:
    files = sorted(len(path.read_text().splitlines()) for path in SOURCE if path.name != "__init__.py")
    sizes = sorted((f.end_lineno or 0) - f.lineno + 1 for path in SOURCE for f in functions(path))
    assert files[len(files) // 2] <= 150
    assert sizes[len(sizes) // 2] <= 10


@pytest.mark.parametrize("path", SOURCE, ids=label)
def test_more_than_three_parameters_are_keyword_only(path: Path) -> None:
    many = {
        f.name: len(positional)
        for f in functions(path)
        if len(positional := [a for a in f.args.args if a.arg not in ("self", "cls")]) > 4
    }
    assert many == {}


UNSAFE_KEYWORDS = {
    ("trust_remote_code", True),
    ("weights_only", False),
    ("allow_pickle", True),
    ("shell", True),
}
UNSAFE_MODULES = {"cloudpickle", "dill", "joblib", "marshal", "shelve"}
UNSAFE_CALLS = {"eval", "exec", "__import__", "instantiate"}


@pytest.mark.parametrize("path", SOURCE, ids=label)
def test_nothing_runs_code_out_of_data(path: Path) -> None:
    for node in ast.walk(ast.parse(path.read_text())):
        match node:
            case ast.keyword(arg=name, value=ast.Constant(value=value)):
                assert (name, value) not in UNSAFE_KEYWORDS
            case ast.Import(names=names):
                assert not UNSAFE_MODULES & {alias.name.partition(".")[0] for alias in names}
            case ast.ImportFrom(module=module, names=names):
                assert (module or "").partition(".")[0] not in UNSAFE_MODULES
                assert module != "pickle" and "instantiate" not in {alias.name for alias in names}
            case ast.Attribute(value=ast.Name(id="pickle"), attr=name):
                assert name == "UnpicklingError", "what torch.load raises may be caught, and that is all"
            case ast.Call(func=ast.Name(id=name)):
                assert name not in UNSAFE_CALLS
            case ast.Call(func=ast.Attribute(value=ast.Name(id="torch"), attr="load"), keywords=keywords):
                assert any(k.arg == "weights_only" for k in keywords), "torch.load without weights_only=True"


def test_class_paths_are_named_only_where_they_are_refused() -> None:
    named = {label(path) for path in SOURCE if "_target_" in path.read_text()}
    assert named <= {"matrixhub/artifacts/content.py", "matrixhub/artifacts/manifest.py"}


WRONG_WORDS = {"backbone": "encoder", "featurizer": "encoder", "n_classes": "num_classes", "nb_": "num_"}


@pytest.mark.parametrize("path", [*SOURCE, *sorted((ROOT / "conf").rglob("*.yaml"))], ids=label)
def test_one_word_for_one_thing(path: Path) -> None:
    text = path.read_text().lower()
    assert [word for word in WRONG_WORDS if word in text] == []


@pytest.mark.parametrize("path", EVERYTHING, ids=label)
def test_names_say_what_a_thing_is(path: Path) -> None:
    assert path.stem not in ("utils", "util", "helpers", "helper", "common", "misc", "base", "manager")
    classes = [n.name for n in ast.walk(ast.parse(path.read_text())) if isinstance(n, ast.ClassDef)]
    assert [
        name for name in classes if re.match("Base[A-Z]", name) or name.endswith(("Manager", "Helper"))
    ] == []


@pytest.mark.parametrize("path", SOURCE, ids=label)
def test_modules_have_docstrings(path: Path) -> None:
    assert ast.get_docstring(ast.parse(path.read_text()))


@pytest.mark.parametrize("plugin", sorted((ROOT / "plugins").glob("matrixhub-*")), ids=lambda p: p.name)
def test_first_party_plugins_look_alike(plugin: Path) -> None:
    package = plugin / plugin.name.replace("-", "_")
    for path in ("pyproject.toml", "README.md", "LICENSE", "tests"):
        assert (plugin / path).exists(), path
    for path in ("__init__.py", "plugin.py", "py.typed"):
        assert (package / path).exists(), path
    entry = f'{plugin.name.removeprefix("matrixhub-")} = "{package.name}.plugin"'
    assert entry in (plugin / "pyproject.toml").read_text()


def test_imports_run_one_way() -> None:
    linter = Path(sys.executable).parent / "lint-imports"
    done = subprocess.run([linter, "--no-cache"], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout
    assert "0 broken" in done.stdout
