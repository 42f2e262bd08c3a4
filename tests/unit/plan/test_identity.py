"""What is seen of code, rows and weights, and what is made of it."""

import importlib.metadata
import os
from pathlib import Path
from typing import Any

import pytest

from matrixhub.errors import CheckpointError, DataError
from matrixhub.plan import make_plan
from matrixhub.plan.cell import resolve
from matrixhub.plan.identity import Options, State, Surroundings, libraries
from matrixhub.registry import Component
from tests.unit.plan.made_up import Encode, Rows, make_hub, make_job

HUB = make_hub()
SOURCE = """
class Rows:
    made = 0

    def __init__(self, *, path, limit=None):
        Rows.made += 1
        if path == "gone.csv":
            raise FileNotFoundError(path)

    def fingerprint(self):
        return "as before"
"""


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An importable package of its own, with a source in it."""
    name = f"acme_{tmp_path.name.replace('-', '_')}"
    (tmp_path / name).mkdir()
    (tmp_path / name / "__init__.py").write_text("")
    (tmp_path / name / "rows.py").write_text(SOURCE)
    monkeypatch.syspath_prepend(str(tmp_path))
    return tmp_path / name


def encoder(package: Path) -> Component:
    return Component("encoder", "acme.words", f"{package.name}.model:build", Encode)


def source(package: Path) -> Component:
    return Component("source", "acme.rows", f"{package.name}.rows:Rows", Rows)


def test_edited_code_is_seen(package: Path) -> None:
    before = Surroundings()(encoder(package), {"name": "acme.words"})
    assert Surroundings()(encoder(package), {"name": "acme.words"}) == before
    (package / "deep.py").write_text("x = 2\n")
    after = Surroundings()(encoder(package), {"name": "acme.words"})
    assert after["code"] != before["code"] and after["core"] == before["core"]


@pytest.mark.parametrize("key", ["checkpoint", "vocabulary"])
def test_files_that_options_name_are_seen(package: Path, key: str) -> None:
    weights = package / "weights" / "deep"
    weights.mkdir(parents=True)
    (weights / "model.safetensors").write_bytes(b"1")
    options = {"name": "acme.words", key: f"package:{package.name}/weights"}
    before = Surroundings()(encoder(package), options)
    assert Surroundings()(encoder(package), options) == before and key in before
    os.utime(weights / "model.safetensors", (1, 1))
    assert Surroundings()(encoder(package), options) != before


def test_a_hub_id_is_text_and_a_folder_is_not(package: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(package)
    by_id = Surroundings()(encoder(package), {"name": "acme.words", "checkpoint": "bert-base-uncased"})
    assert by_id.keys() == {"core", "code", "libraries"}
    (package / "bert-base-uncased").mkdir()
    local = Surroundings()(encoder(package), {"name": "acme.words", "checkpoint": "bert-base-uncased"})
    assert local.keys() == {"core", "code", "libraries", "checkpoint"}


def test_an_upgraded_library_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    assert "transformers" in libraries("matrixhub-text")
    monkeypatch.setattr(importlib.metadata, "version", lambda name: "99")
    libraries.cache_clear()
    try:
        assert "transformers 99" in libraries("matrixhub-text")
    finally:
        libraries.cache_clear()
    assert libraries("no-such-distribution") == ""


def test_a_checkpoint_that_is_not_there_is_told_before_any_work(package: Path) -> None:
    with pytest.raises(CheckpointError, match="no file or folder"):
        Surroundings()(encoder(package), {"name": "acme.words", "checkpoint": "./nowhere/at all"})


def test_a_source_is_asked_once_for_all_cells(package: Path) -> None:
    look, options = Surroundings(), {"name": "acme.rows", "path": "mail.csv"}
    states = [look(source(package), dict(options)) for _ in range(3)]
    assert states[0]["rows"] == "as before" and states[1:] == states[:2]
    made: Any = source(package).factory()
    assert made.made == 1
    look(source(package), {**options, "limit": 3})
    assert made.made == 2


def test_a_source_that_cannot_be_made_says_which(package: Path) -> None:
    with pytest.raises(DataError, match=r"Source 'acme\.rows' cannot be made: FileNotFoundError: gone\.csv"):
        Surroundings()(source(package), {"name": "acme.rows", "path": "gone.csv"})


def test_what_is_seen_makes_the_cell() -> None:
    def seeing(rows: str) -> Any:
        def look(component: Component, options: Options) -> State:
            return {"rows": rows} if component.kind == "source" else {}

        return look

    one, other = (resolve(make_job(), HUB, seeing(rows)) for rows in ("a", "b"))
    assert one.id != other.id
    assert one.state == {"source": {"rows": "a"}, "encoder/text": {}, "head": {}}


def test_a_cell_whose_rows_cannot_be_seen_is_refused_and_costs_no_other() -> None:
    def look(component: Component, options: Options) -> State:
        if options.get("path") == "gone.csv":
            raise DataError("There is no file gone.csv.")
        return {}

    plan = make_plan([make_job(product__source__path="gone.csv"), make_job()], HUB, look=look)
    assert [refusal.reasons for refusal in plan.refused] == [("There is no file gone.csv.",)]
    assert len(plan.cells) == 1


@pytest.mark.parametrize("key", ["launch__mixed_precision", "encode__precision"])
def test_another_precision_is_another_cell(key: str) -> None:
    assert resolve(make_job(**{key: "bf16"}), HUB).id != resolve(make_job(), HUB).id
