"""What else is installed changes no product: neither fifty plugins, nor one that is broken in any way."""

import json
import statistics
from pathlib import Path
from typing import Any

import pytest

from tests.command import command, python
from tests.fixture_plugin.fake import FAULTS, WORKING, write_plugin

MANY = "product=toy,news"
LOAD = """
import json, time
from matrixhub import plugins
started = time.process_time()
hub = plugins.hub()
print(json.dumps([1000 * (time.process_time() - started), len(hub.plugins)]))
"""
BUDGET_MS, SLACK, NUM_PLUGINS = 50, 3, 50


def planned(folder: Path, site: Path | None = None) -> Any:
    argv = ("plan", "-m", MANY, "encoder/text=hash,minilm", "trainer.lr=1e-3,1e-2", "--json")
    done = command(*argv, site=site, cwd=folder)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("here")


@pytest.fixture(scope="module")
def alone(folder: Path) -> Any:
    """The plan where no plugin is broken."""
    plan = planned(folder)
    assert len(plan["cells"]) == 8
    return plan


@pytest.mark.parametrize("name", FAULTS)
def test_a_broken_plugin_changes_no_plan(name: str, folder: Path, alone: Any, tmp_path: Path) -> None:
    write_plugin(tmp_path, name, FAULTS[name].code)
    assert planned(folder, tmp_path) == alone


def test_checks_that_misbehave_change_no_plan(folder: Path, alone: Any, tmp_path: Path) -> None:
    for name, body in enumerate(("return 3", "raise SystemExit(3)", "yield 3", "yield from [1 / 0]")):
        hook = f"\n@hookimpl\ndef matrixhub_check(cell):\n    {body}\n"
        write_plugin(tmp_path, f"check{name}", WORKING + hook)
    assert planned(folder, tmp_path) == alone


@pytest.mark.slow
def test_broken_plugins_change_no_run(tmp_path: Path) -> None:
    for name in FAULTS:
        write_plugin(tmp_path / "site", name, FAULTS[name].code)
    argv = ("run", "product=toy", "encoder/text=hash", "trainer.epochs=2", "encode.precision=float32")
    records: list[Any] = []
    for number, site in enumerate((None, tmp_path / "site")):
        here = tmp_path / str(number)
        here.mkdir()
        done = command(*argv, site=site, cwd=here, MATRIXHUB_CACHE=str(here / "cache"))
        assert done.returncode == 0, done.stderr
        (path,) = here.glob("runs/*/records.jsonl")
        records += map(json.loads, path.read_text().splitlines())
    plain, beside = records
    assert beside["metrics"] == plain["metrics"]
    assert beside["status"] == plain["status"] == "done"


def test_fifty_plugins_cost_little(tmp_path: Path) -> None:
    """Processor time, median of five; the benchmark of start-up measures the budget without the slack."""
    for i in range(NUM_PLUGINS):
        write_plugin(tmp_path, f"many{i}")
    few, many = ([python(LOAD, site=site) for _ in range(5)] for site in (None, tmp_path))
    assert many[0][1] - few[0][1] == NUM_PLUGINS
    added = statistics.median(ms for ms, _ in many) - statistics.median(ms for ms, _ in few)
    assert added < BUDGET_MS * SLACK
