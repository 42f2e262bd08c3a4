"""A search and a list of jobs are planned as graphs, batch by batch, in one run folder."""

import json
from pathlib import Path

import pytest

import matrixhub as mh
from tests.toys import FAST, run_toy, toy_options, write_products

SEARCH = (
    "hydra/sweeper=optuna", "hydra.sweeper.num_trials=5", "hydra.sweeper.batch_size=3",
    "product=colour,size", "trainer.lr=tag(log,interval(1e-3,1e-1))", "trainer.epochs=2",
)  # fmt: skip


def test_a_batch_of_trials_is_one_graph_and_a_search_is_one_run(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    conf = write_products(tmp_path / "conf")
    first = mh.plan([*toy_options(tmp_path), *SEARCH], config_dir=conf, multirun=True)
    assert len(first.cells) == 6
    (encode,) = (stage for stage in first.stages if stage.kind == "encode")
    assert len(encode.cells) == 6
    run = mh.run([*toy_options(tmp_path), *SEARCH], config_dir=conf, multirun=True)
    assert capsys.readouterr().err.count("encoded") == 1
    assert [run.folder] == list((tmp_path / "runs").iterdir())
    assert [record["cell"] for record in run.records] == list(run.plan.cells)
    assert [record["product"] for record in run.records] == ["colour", "size"] * 5
    assert not any("from_run" in record for record in run.records)
    plan = json.loads((run.folder / "plan.json").read_text())
    assert len([stage for stage in plan["stages"] if stage["kind"] == "train"]) == 10
    again = mh.run([*toy_options(tmp_path), *SEARCH], config_dir=conf, multirun=True, quiet=True)
    done = {record["from_run"] for record in again.records}
    assert len(again.records) == 10 and done == {run.folder.name}


def test_a_list_of_lists_of_overrides_is_one_plan(tmp_path: Path) -> None:
    conf = write_products(tmp_path / "conf")
    options = [*toy_options(tmp_path), *FAST]
    cells = [[*options, "product=colour"], [*options, "product=size", "head=linear,mlp"]]
    plan = mh.plan(cells, config_dir=conf, multirun=True)
    assert [cell.name for cell in plan.cells.values()] == [
        "colour-hash-linear", "size-hash-linear", "size-hash-mlp",
    ]  # fmt: skip
    assert len([stage for stage in plan.stages if stage.kind == "encode"]) == 1
    run = mh.run([cells[0], [*options, "product=size"]], config_dir=conf, quiet=True)
    assert [record["status"] for record in run.records] == ["done", "done"]


def test_a_matrix_kept_in_a_folder_of_ones_own(tmp_path: Path) -> None:
    conf = write_products(tmp_path / "conf")
    (conf / "matrix").mkdir()
    (conf / "matrix" / "mine.yaml").write_text(
        "# @package _global_\nhydra:\n  mode: MULTIRUN\n  sweeper:\n    params:\n"
        "      product: colour,size\n      head: linear,mlp\n"
    )
    run = run_toy(tmp_path, "matrix=mine", *FAST)
    assert [record["name"] for record in run.records] == [
        "colour-hash-linear", "colour-hash-mlp", "size-hash-linear", "size-hash-mlp",
    ]  # fmt: skip
