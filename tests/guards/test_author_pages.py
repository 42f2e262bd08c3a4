"""The pages for plugin authors are true: examples are what is written, commands work as they stand."""

import csv
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

import matrixhub as mh
import matrixhub.testing.checks  # enrols all of them
from matrixhub.registry import KINDS
from matrixhub.scaffold import names_of, render
from matrixhub.testing.check import CHECKS
from tests.command import SCRIPT, environment
from tests.new_plugin import pretend_installed

DOCS = Path(mh.__file__).parent.parent / "docs"
AUTHORS = DOCS / "authors"
PAGES = (DOCS / "plugins.md", AUTHORS / "index.md", *(AUTHORS / f"{kind}.md" for kind in KINDS))

every_kind = pytest.mark.parametrize("kind", KINDS)
every_page = pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)


def blocks(page: Path, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", page.read_text(), re.DOTALL | re.MULTILINE)


@every_kind
def test_the_example_is_what_is_written(kind: str) -> None:
    files = render(names_of("acme"), kind=kind)
    shown = dict(
        block.removeprefix("# ").split("\n", 1) for block in blocks(AUTHORS / f"{kind}.md", "python")
    )
    assert len(shown) == 2
    for place, text in shown.items():
        assert text == files[place], f"copy {place} of 'matrixhub plugin new acme --kind {kind}' to the page"


@every_kind
def test_the_checks_it_names_are_asked_of_its_kind(kind: str) -> None:
    rows = re.findall(r"^\| .* \| `(\w+)` \|$", (AUTHORS / f"{kind}.md").read_text(), re.MULTILINE)
    asked = {check.name for check in CHECKS if {kind, "component", "plugin"} & set(check.kinds)}
    assert len(rows) >= 3
    assert set(rows) <= asked


@every_page
def test_links_lead_somewhere(page: Path) -> None:
    for link in re.findall(r"\]\(([^)#]+)(?:#\w+)?\)", page.read_text()):
        assert (page.parent / link).exists(), link


def write_tables(folder: Path) -> None:
    """The tables that the pages speak of, in the folder where their commands run."""
    rows = [(word, i) for i in range(60) for word in ("red", "blue")]
    tables: dict[str, list[list[str]]] = {
        "pairs": [["first", "second", "label"], *([f"{w} {i}", f"no {i}", w] for w, i in rows)],
        "questions": [["text", "answer"], *([f"{w} was the car {i}", w] for w, i in rows)],
    }
    for name, table in tables.items():
        with (folder / f"{name}.csv").open("w", newline="") as file:
            csv.writer(file).writerows(table)


def do(words: list[str], cwd: Path, site: Path | None) -> str:
    """Run one command of a page; what pip would write is already there."""
    program = {"matrixhub": [str(SCRIPT)], "pytest": [sys.executable, "-m", "pytest"]}[words[0]]
    done = subprocess.run(
        [*program, *words[1:]],
        cwd=cwd,
        env=environment(site, MATRIXHUB_CACHE=str(cwd / "cache")),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, f"{shlex.join(words)}\n{done.stdout}{done.stderr}"
    return done.stdout


def follow(page: Path, folder: Path, *, slowly: bool) -> int:
    """Type the first block of commands; what takes long is only planned, or left out."""
    site, cwd, count = None, folder, 0
    for line in blocks(page, "sh")[0].splitlines():
        words = shlex.split(line, comments=True)
        if words[0] == "cd":
            cwd = cwd / words[1]
            write_tables(cwd)
        elif words == ["pip", "install", "-e", ".", "pytest"]:
            site = pretend_installed(cwd)
        elif words[:2] == ["matrixhub", "run"]:
            short = ["trainer.epochs=2", *(["product.source.limit=200"] if "product=news" in words else [])]
            do([*words, *short] if slowly else ["matrixhub", "plan", *words[2:]], cwd, site)
        elif words[0] != "pytest" or slowly:
            do(words, cwd, site)
        count += 1
    return count


@every_page
def test_the_commands_of_a_page_are_right(page: Path, tmp_path: Path) -> None:
    assert follow(page, tmp_path, slowly=False) >= 4


@pytest.mark.slow
@every_page
def test_the_commands_of_a_page_work(page: Path, tmp_path: Path) -> None:
    assert follow(page, tmp_path, slowly=True) >= 4


def test_the_preset_is_an_option(tmp_path: Path) -> None:
    project = tmp_path / "acme"
    do(["matrixhub", "plugin", "new", "acme", "--kind", "encoder"], tmp_path, None)
    (preset,) = blocks(AUTHORS / "index.md", "yaml")
    (hook,) = blocks(AUTHORS / "index.md", "python")
    path = project / preset.splitlines()[0].removeprefix("# ")
    path.parent.mkdir(parents=True)
    path.write_text(preset)
    with (project / "acme" / "plugin.py").open("a") as file:
        file.write(hook)
    site = pretend_installed(project)
    (tmp_path / "rows.csv").write_text("text,label\na,b\n")
    argv = "matrixhub plan product=text product.source.path=rows.csv encoder/text=wide --json"
    assert '"dim": 512' in do(argv.split(), tmp_path, site)
