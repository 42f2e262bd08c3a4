"""Callbacks from the command line: told in order, on the main process; a fault costs only itself."""

import json
from pathlib import Path
from typing import Any

import pytest

import matrixhub as mh
from matrixhub.cli.main import main
from tests.command import command
from tests.fixture_plugin.fake import write_plugin
from tests.toys import FAST, toy_options, write_products

WATCHER = """
import json
import os
from dataclasses import dataclass
from pathlib import Path
from matrixhub import hookimpl

@dataclass
class Config:
    \"\"\"Writes what it is told into a file.\"\"\"

    fail: str = ""

@hookimpl
def matrixhub_components(register):
    for name in ("first", "second"):
        register("callback", name, f"{__name__}:{name.title()}", config=Config)

class First:
    def __init__(self, *, fail):
        self.fail = fail
        self.write("made")

    def write(self, *told):
        with Path(os.environ["TOLD"]).open("a") as file:
            file.write(json.dumps([type(self).__name__, *told, os.environ.get("RANK", "0")]) + "\\n")
        if told[0] == self.fail:
            raise RuntimeError("no bell")

    def on_run_start(self, run):
        self.write("on_run_start", len(run.plan.cells), len(run.records))

    def on_cell_start(self, cell):
        self.write("on_cell_start", cell["name"])

    def on_epoch_end(self, cell, epoch):
        self.write("on_epoch_end", cell["name"], epoch["epoch"])

    def on_cell_end(self, cell, record):
        self.write("on_cell_end", cell["name"], record["status"])

    def on_run_end(self, run, records):
        self.write("on_run_end", [record["status"] for record in records])

class Second(First):
    on_epoch_end = None
"""
EPOCHS = ("trainer.epochs=2", "trainer.patience=null", "baseline=false")


def run(folder: Path, *overrides: str) -> tuple[int, list[list[Any]], str]:
    """Exit code, what the callbacks were told, and stderr."""
    site, told = folder / "site", folder / "told"
    write_plugin(site, "bell", WATCHER)
    conf = write_products(folder / "conf")
    argv = ("run", *overrides, *FAST, *EPOCHS, "--config-dir", str(conf), *toy_options(folder))
    done = command(*argv, site=site, TOLD=str(told))
    lines = told.read_text().splitlines() if told.exists() else []
    return done.returncode, [json.loads(line) for line in lines], done.stderr


def of(told: list[list[Any]], name: str) -> list[list[Any]]:
    return [line[1:-1] for line in told if line[0] == name]


def test_two_are_told_of_a_sweep_in_their_order(tmp_path: Path) -> None:
    sweep = ("-m", "product=colour,broken", "head=linear", "trainer.seed=0,1", "callback=[first,second]")
    code, told, _ = run(tmp_path, *sweep)
    assert code == 1
    name = "colour-hash-linear"
    epochs = [["on_epoch_end", name, epoch] for epoch in (1, 2)]
    assert of(told, "First") == [
        ["made"],
        ["on_run_start", 4, 0],
        *[["on_cell_start", name]] * 2,  # one stack
        *epochs,
        *epochs,
        *[["on_cell_end", name, "done"]] * 2,
        *[["on_cell_end", "broken-hash-linear", "failed"]] * 2,
        ["on_run_end", ["done", "done", "failed", "failed"]],
    ]
    assert of(told, "Second") == [line for line in of(told, "First") if line[0] != "on_epoch_end"]
    ends = [line[0] for line in told if line[1] == "on_run_end"]
    assert ends == ["First", "Second"]


def test_on_two_ranks_the_first_alone_is_told(tmp_path: Path) -> None:
    ranks = ("launch.num_processes=2", "launch.cpu=true", "launch.timeout=60")
    code, told, err = run(tmp_path, "product=colour", "callback=first", *ranks)
    assert code == 0, err
    assert {line[-1] for line in told} == {"0"}
    assert [line[1] for line in told].count("made") == 1
    assert [line[1] for line in told].count("on_epoch_end") == 2


@pytest.mark.parametrize("method", ["made", "on_run_start", "on_epoch_end"])
def test_one_that_raises_is_left_out_and_costs_nothing(method: str, tmp_path: Path) -> None:
    chosen = ("callback=[first,second]", f"callback.first.fail={method}")
    code, told, err = run(tmp_path, "product=colour", *chosen)
    assert code == 0
    assert (
        err.count("The callback 'bell.first' failed and is left out from here on: RuntimeError: no bell") == 1
    )
    assert of(told, "First")[-1][0] == method
    assert of(told, "Second")[-1] == ["on_run_end", ["done"]]


def test_a_callback_is_no_part_of_a_cell(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from matrixhub.plan import make_plan
    from tests.unit.plan.made_up import make_hub, make_job

    hub = make_hub()
    alone = make_plan([make_job()], hub)
    bell, plot = {"name": "acme.bell", "path": "x"}, {"name": "acme.plot"}
    watched = make_plan([make_job(callback={"plot": plot, "bell": bell})], hub)
    assert list(watched.cells) == list(alone.cells)
    assert [one["name"] for one in watched.callbacks] == ["acme.plot", "acme.bell"]
    with pytest.raises(mh.ConfigError, match=r"callback\.bell\.path is not set"):
        make_plan([make_job(callback={"bell": {"name": "acme.bell"}})], hub)
    with pytest.raises(mh.ConfigError, match=r"callback\.\* cannot be swept over"):
        make_plan([make_job(), make_job(callback={"plot": plot})], hub)


def test_a_plan_refuses_unknown_ones(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["plan", "product=toy", "encoder/text=hash", "callback=[bell]"]) == 2
    assert "Unknown callback 'bell'" in capsys.readouterr().err
