"""From ``matrixhub plugin new`` to a wheel that answers elsewhere, for every kind of component.

The packages are written once, and installed twice: so that they can be edited, and out of wheels where their
sources are gone.
"""

import csv
import functools
import json
import shutil
from pathlib import Path

import pytest
from PIL import Image

import matrixhub
from tests.command import command, python
from tests.new_plugin import NEW, New, write_new
from tests.place import Place, make_place, pip

ROOT = Path(matrixhub.__file__).parent.parent
COLOURS = {"red": (200, 40, 40), "green": (40, 180, 60), "blue": (50, 60, 210)}
THINGS = ("car", "bird", "boat", "tree", "sofa", "cup", "lamp", "chair")
ROWS = 150
FAST = ("trainer.lr=0.03", "trainer.epochs=15", "trainer.batch_size=16", "launch.cpu=true")
TABLE = ("product=text", "product.source.path=rows.csv")
TEXT = (*TABLE, "encoder/text=new_text.words")
USES = {
    "new_text": TEXT,
    "new_image": ("product=image", "product.source.path=photos", "encoder/image=new_image.colours"),
    "new_other": ("product=new_other", "product.source.path=rows.csv"),
    "new_head": (*TEXT, "head=new_head.cosine"),
    "new_generator": (
        "product=generation",
        "product.source.path=rows.csv",
        "generator=new_generator.chain",
        "generate.max_new_tokens=1",
    ),
    "new_source": ("product=text", "product/source=new_source.lines", "encoder/text=new_text.words"),
    "new_fusion": (
        "product=pair",
        "product.source.path=rows.csv",
        "encoder/text=new_text.words",
        "head=linear",
        "fusion=new_fusion.summed",
    ),
    "new_transform": (*TEXT, "product/transform=new_transform.clean"),
    "new_callback": (*TEXT, "callback=new_callback.journal"),
}
"""What is typed after ``matrixhub run`` to use each."""

every_kind = pytest.mark.parametrize("new", NEW, ids=lambda new: new.name)


def write_rows(folder: Path) -> None:
    """A table and images, whose label is a colour that every column tells in its own way."""
    with (folder / "rows.csv").open("w", newline="") as file:
        table = csv.writer(file)
        table.writerow(["text", "first", "second", "x", "y", "label", "answer"])
        for i in range(ROWS):
            colour = list(COLOURS)[i % 3]
            thing, place = THINGS[i % 8], i % 3
            text = f"{colour} was the <b>{thing}</b>   no{i}"
            x, y = 3 * place + i / ROWS, 6 - 3 * place - i / ROWS
            table.writerow([text, f"{colour} no{i}", thing, x, y, colour, colour])
            Image.new("RGB", (12, 9), tuple(c + i % 20 for c in COLOURS[colour])).save(
                folder_for(folder, colour) / f"{i}.png"
            )


def folder_for(folder: Path, label: str) -> Path:
    """Where images of a label lie."""
    found = folder / "photos" / label
    found.mkdir(parents=True, exist_ok=True)
    return found


@pytest.fixture(scope="module")
def desk(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("desk")
    write_rows(folder)
    return folder


@pytest.fixture(scope="module")
def seen(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Each package's folder, in which it is seen as installed without pip."""
    folder = tmp_path_factory.mktemp("seen")
    return {new.name: write_new(folder, new) for new in NEW}


def everywhere(seen: dict[str, Path]) -> str:
    return ":".join(map(str, seen.values()))


def test_all_of_them_are_listed_side_by_side(seen: dict[str, Path]) -> None:
    listed = command("list", PYTHONPATH=everywhere(seen))
    assert "set aside" not in listed.stdout
    assert [new.component for new in NEW if new.component not in listed.stdout] == []


@every_kind
def test_a_plan_uses_it(new: New, seen: dict[str, Path], desk: Path) -> None:
    planned = command("plan", *USES[new.name], "--json", cwd=desk, PYTHONPATH=everywhere(seen))
    assert planned.returncode == 0, planned.stderr
    plan = json.loads(planned.stdout)
    assert plan["refused"] == []
    assert new.component in planned.stdout or new.kind == "callback"


def test_each_keeps_what_its_kind_promises(seen: dict[str, Path]) -> None:
    code = (
        "import json, sys\nfrom matrixhub.testing import Suite\n"
        "results = [case.run() for name in sys.argv[1:] for case in Suite(name).cases()]\n"
        "bad = [f'{r.subject} {r.check}: {r.text}' for r in results if r.is_bad]\n"
        "print(json.dumps([len(results), bad]))"
    )
    count, bad = python(code, *seen, PYTHONPATH=everywhere(seen))
    assert bad == []
    assert count > 20 * len(NEW)


@pytest.fixture(scope="module")
def projects(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder that holds them, as the command writes them."""
    folder = tmp_path_factory.mktemp("projects")
    for new in NEW:
        done = command("plugin", "new", *new.argv, cwd=folder)
        assert done.returncode == 0, done.stderr
    return folder


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory, projects: Path) -> Place:
    """An environment with the core, the heads, and all of them installed from their folders."""
    place = make_place(tmp_path_factory.mktemp("editable") / "venv")
    theirs = [ROOT, ROOT / "plugins" / "matrixhub-heads", *(projects / new.name for new in NEW)]
    pip(*into(place), "install", *(word for path in theirs for word in ("--editable", str(path))))
    return place


def into(place: Place) -> tuple[str, str]:
    return "--python", str(place.folder / "bin" / "python")


@pytest.fixture(scope="module")
def elsewhere(tmp_path_factory: pytest.TempPathFactory, projects: Path) -> Place:
    """An environment with wheels alone, built from folders that are then removed."""
    place, folder = make_place(tmp_path_factory.mktemp("wheels") / "venv"), tmp_path_factory.mktemp("built")
    copies = shutil.copytree(projects, folder / "copies")
    ours = [ROOT, ROOT / "plugins" / "matrixhub-heads"]
    pip("wheel", "--wheel-dir", str(folder), *map(str, [*ours, *(copies / new.name for new in NEW)]))
    shutil.rmtree(copies)
    pip(*into(place), "install", *map(str, folder.glob("*.whl")))
    return place


@pytest.mark.slow
@every_kind
def test_pytest_is_green(new: New, place: Place, projects: Path) -> None:
    said = place.run("python", "-m", "pytest", "-q", cwd=projects / new.name)
    assert " passed" in said.splitlines()[-1] and "failed" not in said


@pytest.mark.slow
@every_kind
def test_it_is_listed_and_its_check_is_green(new: New, place: Place) -> None:
    (line,) = (line for line in place.run("matrixhub", "list").splitlines() if new.component in line)
    assert line.startswith(new.kind) and line.endswith(f"[{new.name} 0.1.0]")
    assert "failed" in place.run("matrixhub", "plugin", "check", new.name)  # a column, empty: the code is 0


@functools.cache
def trained(new: New, place: Place, desk: Path) -> Path:
    """The artifact of a run that uses it."""
    runs = desk / "runs" / new.name
    place.run("matrixhub", "run", *USES[new.name], *FAST, f"output_dir={runs}", cwd=desk)
    (artifact,) = (path for path in runs.glob("*/artifacts/*") if path.is_dir())
    return artifact


@pytest.mark.slow
@every_kind
def test_a_run_uses_it_and_learns(new: New, place: Place, desk: Path) -> None:
    artifact = trained(new, place, desk)
    run = artifact.parents[1]
    (record,) = map(json.loads, (run / "records.jsonl").read_text().splitlines())
    ((metrics,),) = (record["metrics"].values(),)
    assert metrics["exact_match" if new.kind == "generator" else "accuracy"] > 0.8
    if new.kind == "callback":
        lines = [json.loads(line) for line in (run / "journal.jsonl").read_text().splitlines()]
        assert len(lines) > 10 and lines[-1]["status"] == "done"
    else:
        assert new.component in (run / "plan.json").read_text()


@pytest.mark.slow
@every_kind
def test_its_wheel_answers_where_its_source_is_gone(
    new: New, place: Place, elsewhere: Place, desk: Path, tmp_path: Path
) -> None:
    artifact = trained(new, place, desk)
    assert new.component in elsewhere.run("matrixhub", "list")
    code = f"import {new.name} as it, pathlib; print(pathlib.Path(it.__file__).resolve())"
    assert Path(elsewhere.run("python", "-c", code).strip()).is_relative_to(elsewhere.folder.resolve())
    elsewhere.run("matrixhub", "plan", *USES[new.name], cwd=desk)  # its presets are in the wheel too
    rows = "photos" if new.modality == "image" else "rows.csv"
    output = tmp_path / "answers.jsonl"
    elsewhere.run("matrixhub", "predict", str(artifact), rows, "-o", str(output), cwd=desk)
    answers = [json.loads(line) for line in output.read_text().splitlines()]
    assert len(answers) == ROWS
    column = "predicted_answer" if new.kind == "generator" else "predicted_label"
    assert {answer[column] for answer in answers} == set(COLOURS)
