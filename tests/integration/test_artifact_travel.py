"""A trained product is a folder: it answers the same elsewhere, and is refused when touched."""

import dataclasses
import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import matrixhub as mh
from tests.command import command, python

ANSWER = """
import dataclasses, json, sys
import matrixhub as mh
table = mh.create("source", "fixture.toy", rows=40, seed=9).read()
def plain(answer):
    if isinstance(answer, dict):
        return {name: dataclasses.asdict(one) for name, one in answer.items()}
    return dataclasses.asdict(answer)
print(json.dumps({f: [plain(a) for a in mh.load(f).predict_table(table)] for f in sys.argv[1:]}))
"""


def plain(answer: Any) -> Any:
    if isinstance(answer, dict):
        return {name: dataclasses.asdict(one) for name, one in answer.items()}
    return dataclasses.asdict(answer)


def same(one: Any, other: Any) -> bool:
    """Equal, numbers to 1e-6."""
    match one:
        case float():
            return one == pytest.approx(other, abs=1e-6, rel=1e-6)
        case dict():
            return one.keys() == other.keys() and all(same(one[key], other[key]) for key in one)
        case list():
            return len(one) == len(other) and all(map(same, one, other))
    return bool(one == other)


@pytest.fixture(scope="module")
def runs(trained: mh.Run, pairs: mh.Run, tuned: mh.Run) -> list[mh.Run]:
    return [trained, pairs, tuned]


@pytest.fixture(scope="module")
def moved(runs: list[mh.Run], tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[Path, Path]]:
    """Each artifact's old and new place; while this holds, the old one is not there."""
    places: dict[Path, Path] = {}
    for i, run in enumerate(runs):
        target = tmp_path_factory.mktemp(f"elsewhere{i}")
        for record in run.records:
            old = Path(record["artifact"])
            places[old] = target / old.name
            shutil.copytree(old, places[old])
    before = {old: [plain(a) for a in mh.load(old).predict_table(toy_rows())] for old in places}
    for run in runs:
        run.folder.rename(run.folder.with_name("hidden"))
    try:
        found = python(ANSWER, *map(str, places.values()))
    finally:
        for run in runs:
            run.folder.with_name("hidden").rename(run.folder)
    for old, new in places.items():
        assert len(before[old]) == 40
        assert same(before[old], found[str(new)]), f"{old.name} answers otherwise elsewhere"
    yield places


def toy_rows() -> Any:
    return mh.create("source", "fixture.toy", rows=40, seed=9).read()


def test_every_product_answers_the_same_in_another_process_and_folder(moved: dict[Path, Path]) -> None:
    names = " ".join(place.name for place in moved)
    assert len(moved) == 15
    for product in ("colour", "tagging", "pair", "crossed", "picture", "fused", "several"):
        assert product in names


def test_an_artifact_names_no_place_of_the_machine_it_was_made_on(moved: dict[Path, Path]) -> None:
    for old, new in moved.items():
        for path in new.rglob("*.json"):
            text = path.read_text()
            assert str(old.parent.parent) not in text
            assert "/tmp" not in text and str(Path.home()) not in text


def test_the_manifest_says_what_the_product_is(artifact: Path) -> None:
    manifest = json.loads((artifact / "manifest.json").read_text())
    assert manifest["product"]["outputs"]["label"]["target"] == "label"
    assert manifest["targets"]["label"]["classes"] == ["blue", "green", "red"]
    assert manifest["metrics"]["label"]["accuracy"] > 0.9
    assert manifest["num_rows"]["test"] == 60
    assert manifest["components"]["fixture.hash_text"] == "matrixhub-fixture"
    assert set(manifest["distributions"]) == {"matrixhub-fixture", "matrixhub-heads"}


def test_a_missing_plugin_is_named_with_what_to_install(artifact: Path, tmp_path: Path) -> None:
    rows = tmp_path / "rows.csv"
    rows.write_text("text\nthe tiny red car\n")
    done = command("predict", str(artifact), str(rows), MATRIXHUB_PLUGINS="heads,text")
    assert done.returncode == 2
    assert "pip install 'matrixhub-fixture'" in done.stderr
    assert "Traceback" not in done.stderr


def flip(artifact: Path) -> str:
    path = artifact / "readout.safetensors"
    raw = bytearray(path.read_bytes())
    raw[-1] ^= 1
    path.write_bytes(raw)
    return path.name


def add_code(artifact: Path) -> str:
    (artifact / "encoders" / "text" / "model.py").write_text("print('owned')")
    return "model.py"


def remove(artifact: Path) -> str:
    (artifact / "encoders" / "text" / "encoder.safetensors").unlink()
    return "encoder.safetensors"


def rename_component(artifact: Path) -> str:
    path = artifact / "manifest.json"
    path.write_text(path.read_text().replace('"heads.linear"', '"heads.linar"'))
    return path.name


@pytest.mark.parametrize("tamper", [flip, add_code, remove, rename_component])
def test_a_touched_artifact_is_refused_in_one_message(
    artifact: Path, tmp_path: Path, tamper: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    from matrixhub.cli.main import main

    copy, rows = tmp_path / "copy", tmp_path / "rows.csv"
    shutil.copytree(artifact, copy)
    rows.write_text("text\nthe tiny red car\n")
    named = tamper(copy)
    assert main(["predict", str(copy), str(rows)]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert named in err
    assert err.startswith("matrixhub: ") and "Traceback" not in err


def test_a_folder_that_is_no_artifact(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from matrixhub.cli.main import main

    assert main(["predict", str(tmp_path), "rows.csv"]) == 2
    assert "Traceback" not in capsys.readouterr().err
