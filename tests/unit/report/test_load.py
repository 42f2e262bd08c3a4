"""A run folder is read whatever became of its run."""

import json
from pathlib import Path

import pytest

from matrixhub.errors import ConfigError
from matrixhub.report.load import load_run, missing
from tests.unit.report.made_up import failed, record, run_folder


def test_the_last_record_of_a_cell_counts(tmp_path: Path) -> None:
    run = load_run(run_folder(tmp_path, [failed(), record(cell="other"), record()]))
    assert [(one["cell"], one["status"]) for one in run.records] == [("ab12", "done"), ("other", "done")]
    assert run.failed == [] and run.unfinished == []


def test_what_was_cut_or_is_no_record_is_left_out(tmp_path: Path) -> None:
    folder = run_folder(tmp_path, [record()])
    with (folder / "records.jsonl").open("a") as file:
        file.write('[1]\n{"status": "done"}\n' + json.dumps(record(cell="cut"))[:100])
    (folder / "plan.json").write_text('{"cells": [')
    (folder / "run.json").write_bytes(b"\xff\xfe")
    run = load_run(folder)
    assert [one["cell"] for one in run.records] == ["ab12"]
    assert (run.plan, run.facts) == ({}, {})


def test_cells_without_a_result_are_told_with_the_reason(tmp_path: Path) -> None:
    refused = [{"name": "mail", "overrides": ["product=mail"], "reasons": ["No head.", "No text."]}]
    cells = [
        {"id": "ab12", "name": "n", "overrides": []},
        {"id": "cd34", "name": "late", "overrides": ["a=1"]},
    ]
    run = load_run(run_folder(tmp_path, [failed()], refused=refused, cells=cells))
    told = [(kind, name, why) for kind, name, _, why in missing(run)]
    assert told[:2] == [("failed", "news-minilm-linear", "boom"), ("refused", "mail", "No head. No text.")]
    assert told[2][:2] == ("not reached", "late")


def test_a_run_that_was_killed_at_once_has_a_plan_only(tmp_path: Path) -> None:
    folder = run_folder(tmp_path, [record()])
    (folder / "records.jsonl").unlink()
    run = load_run(folder)
    assert run.records == [] and len(run.unfinished) == 1


def test_another_folder_is_refused_with_the_nearest_run(tmp_path: Path) -> None:
    run_folder(tmp_path / "runs" / "one", [record()])
    for folder in (tmp_path, tmp_path / "runs"):
        with pytest.raises(ConfigError, match=r"is not the folder of a run.*There is one in .*runs/one"):
            load_run(folder)
    with pytest.raises(ConfigError, match=r"no plan.json\.$"):
        load_run(tmp_path / "nowhere")
