"""What the README and the pages for users show is run as it stands, over a few rows."""

import csv
import importlib.util
import re
import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import matrixhub as mh
from tests.command import command, python

ROOT = Path(mh.__file__).parent.parent
PAGES = ("README.md", "docs/products.md", "docs/reports.md")
BLOCK = re.compile(r"(?<!-->\n)^```(\w+)\n(.*?)^```", re.DOTALL | re.MULTILINE)
"""A fenced block, but for those with a mark above: the set-up commands, which ``.ci/run`` runs."""


def blocks(*languages: str, pages: Sequence[str] = PAGES) -> list[str]:
    found = [match for page in pages for match in BLOCK.findall((ROOT / page).read_text())]
    return [text for language, text in found if language in languages]


COMMANDS = [
    line
    for block in blocks("bash", "sh")
    for line in block.replace("\\\n", "").splitlines()
    if line.startswith("matrixhub ")
]


def shortened(argv: list[str]) -> list[str]:
    """The command with few epochs and rows, and few trials where it searches."""
    if argv[0] != "run":
        return argv
    extra = ["trainer.epochs=2"]
    if any(word.startswith("product=") and "news" in word for word in argv):
        extra.append("product.source.limit=200")
    if "hydra/sweeper=optuna" in argv:
        extra += ["hydra.sweeper.num_trials=2", "hydra.sweeper.batch_size=2"]
    return [*argv, *extra]


def write_table(path: Path, rows: int) -> None:
    """Tickets under the column names that the pages use."""
    path.parent.mkdir(exist_ok=True)
    with path.open("w", newline="") as file:
        table = csv.writer(file)
        table.writerow(["customer", "body", "team", "text", "label"])
        for i in range(rows):
            content, team = (f"invoice {i} was paid twice", "billing")
            if i % 2:
                content, team = (f"the app of {i} crashes at start", "support")
            table.writerow([f"customer {i}", content, team, content, team])


def write_pairs(folder: Path, rows: int) -> None:
    """Tables of two texts, of questions about a passage, of captions of the photos, and of two photos."""
    rooms = [f"room {i} is {'warm' if i % 2 else 'cold'}" for i in range(rows)]
    tables: dict[str, dict[str, list[Any]]] = {
        "pairs": {"first": rooms, "second": ["", *rooms[1:]], "label": [i % 2 for i in range(rows)]},
        "faq": {"query": [f"how is {room.partition(' is')[0]}?" for room in rooms], "document": rooms},
        "questions": {
            "passage": rooms,
            "question": ["How is it?"] * rows,
            "answer": ["warm", "cold"] * (rows // 2),
        },
        "captions": {
            "image": [f"photos/{shade}/{i}.png" for shade in ("dark", "light") for i in range(rows // 2)],
            "caption": [f"a {shade} square" for shade in ("dark", "light") for _ in range(rows // 2)],
        },
        "prints": {
            "query": [f"photos/dark/{i}.png" for i in range(rows // 2)],
            "document": [f"photos/light/{i}.png" for i in range(rows // 2)],
        },
    }
    for name, columns in tables.items():
        with (folder / f"{name}.csv").open("w", newline="") as file:
            table = csv.writer(file)
            table.writerow(columns)
            table.writerows(zip(*columns.values(), strict=True))


@pytest.fixture(scope="module")
def desk(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the files that the pages speak of."""
    folder = tmp_path_factory.mktemp("desk")
    for name, rows in {"tickets": 120, "data/tickets-1": 120, "new_tickets": 5, "labelled": 20}.items():
        write_table(folder / f"{name}.csv", rows)
    write_pairs(folder, 60)
    rng = np.random.default_rng(0)
    for label, shade in (("dark", 40), ("light", 200)):
        (folder / "photos" / label).mkdir(parents=True)
        for i in range(40):
            pixels = (shade + rng.integers(-30, 30, (48, 48, 3))).astype(np.uint8)
            Image.fromarray(pixels).save(folder / "photos" / label / f"{i}.png")
    for text in blocks("yaml"):
        (named,) = re.findall(r"^# (my_conf/\S+\.yaml)$", text, re.MULTILINE)
        (folder / named).parent.mkdir(parents=True, exist_ok=True)
        (folder / named).write_text(text)
    return folder


@pytest.fixture(scope="module")
def artifact(desk: Path) -> str:
    """What the README's own table becomes."""
    first = next(line for line in COMMANDS if "tickets.csv" in line)
    done = command(*shortened(shlex.split(first)[1:]), cwd=desk, MATRIXHUB_CACHE=str(desk / "cache"))
    assert done.returncode == 0, done.stderr
    (found,) = (path for path in desk.glob("runs/*/artifacts/*") if path.is_dir())
    return str(found.relative_to(desk))


def searched(desk: Path, product: str = "*search") -> str:
    """The artifact of the newest product that finds rows."""
    found = desk.glob(f"runs/*/artifacts/{product}-*/manifest.json")  # no index, which stands beside it
    return str(max(found, key=lambda path: path.stat().st_mtime).parent.relative_to(desk))


def test_the_pages_show_commands() -> None:
    verbs = {line.split()[1] for line in COMMANDS}
    assert {"run", "predict", "evaluate", "cache", "report"} <= verbs
    assert not any("requirements" in line for line in COMMANDS)


@pytest.mark.slow
@pytest.mark.parametrize("line", COMMANDS)
def test_a_command_of_the_pages(line: str, desk: Path, artifact: str) -> None:
    if "optuna" in line and importlib.util.find_spec("optuna") is None:
        pytest.skip("optuna is not installed")
    run = str(Path(artifact).parents[1])
    if line.split()[1] in ("index", "search"):  # of the product that the line before has trained
        artifact = searched(desk)
    words = [
        re.sub(r"^runs/2\d{3}-[\d_-]+$", run, word.replace("ARTIFACT", artifact))
        for word in shlex.split(line.replace("generator=NAME", "generator=fixture.scribe"), comments=True)
    ]
    done = command(*shortened(words[1:]), cwd=desk, MATRIXHUB_CACHE=str(desk / "cache"))
    assert done.returncode == 0, done.stderr


@pytest.mark.slow
def test_the_python_of_products(desk: Path) -> None:
    (code,) = blocks("python", pages=["docs/products.md"])
    code = code.replace("ARTIFACT", searched(desk, "search"))
    checks = "\nimport json\nprint(json.dumps([len(index), found.row['document']]))"
    number, document = python(f"{code}{checks}", cwd=desk, MATRIXHUB_CACHE=str(desk / "cache"))
    assert number == 60 and document.startswith("room ")


@pytest.mark.slow
def test_the_python_of_the_readme(desk: Path, artifact: str) -> None:
    *runnable, plugin = blocks("python", pages=["README.md"])
    (desk / "acme_plugin.py").write_text(plugin)
    code = "\n".join(runnable).replace("ARTIFACT", artifact)
    checks = (
        "import json, acme_plugin\n"
        "offered = []\n"
        "acme_plugin.matrixhub_components(lambda kind, name, *_, **__: offered.append([kind, name]))\n"
        "same = product(['one row', 'another row'])\n"
        "print(json.dumps([len(same), sorted(run.records[0]['metrics']['topic']), offered]))"
    )
    number, metrics, offered = python(f"{code}\n{checks}", cwd=desk, MATRIXHUB_CACHE=str(desk / "cache"))
    assert number == 2
    assert {"accuracy", "macro_f1"} <= set(metrics)
    assert offered == [["encoder", "vit"]]
