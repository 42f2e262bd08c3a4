"""What counts as done: the newest whole record of a cell whose artifact is still there."""

import json
import shutil
from pathlib import Path
from typing import Any

from matrixhub.plan import make_plan
from matrixhub.plan.history import History, read_records
from tests.unit.plan.made_up import make_hub, make_job

HUB = make_hub()


def write_run(folder: Path, cell: str, **more: Any) -> Path:
    """A run of one cell, with its artifact."""
    artifact = folder / "artifacts" / "one"
    artifact.mkdir(parents=True)
    (artifact / "manifest.json").write_text("{}")
    record = {"cell": cell, "status": "done", "artifact": str(artifact), **more}
    (folder / "records.jsonl").write_text(json.dumps(record) + "\n")
    return folder


def test_the_newest_record_counts_and_says_where_it_is_from(tmp_path: Path) -> None:
    write_run(tmp_path / "2026-01-01", "abc", name="old")
    write_run(tmp_path / "2026-01-02", "abc", name="new")
    write_run(tmp_path / "2026-01-03", "xyz", from_run="2025-12-31")
    history = History(tmp_path)
    assert set(history) == {"abc", "xyz"} and len(history) == 2
    assert (history["abc"]["name"], history["abc"]["from_run"]) == ("new", "2026-01-02")
    assert history["xyz"]["from_run"] == "2025-12-31"


def test_what_failed_is_cut_short_or_lost_its_artifact_does_not_count(tmp_path: Path) -> None:
    write_run(tmp_path / "1", "abc", name="old")
    write_run(tmp_path / "2", "abc", status="failed")
    cut = write_run(tmp_path / "3", "abc", name="cut") / "records.jsonl"
    cut.write_text(cut.read_text()[:-20])
    shutil.rmtree(write_run(tmp_path / "4", "abc") / "artifacts")
    assert History(tmp_path)["abc"]["name"] == "old"
    shutil.rmtree(tmp_path / "1")
    assert "abc" not in History(tmp_path) and not list(History(tmp_path))


def test_nothing_is_done_where_nothing_ran(tmp_path: Path) -> None:
    (tmp_path / "runs").mkdir()
    (tmp_path / "runs" / "notes.txt").write_text("")
    assert not History(tmp_path / "nowhere") and not History(tmp_path / "runs")


def test_a_cell_that_is_done_needs_no_stages() -> None:
    made = [make_job(trainer__lr=lr) for lr in (0.1, 0.2)]
    first, second = make_plan(made, HUB).cells
    plan = make_plan(made, HUB, earlier={first: {"from_run": "yesterday"}, "other": {"from_run": "never"}})
    assert plan.done == {first: "yesterday"}
    assert list(plan.cells) == [first, second]
    assert {stage.cells for stage in plan.stages} == {(second,)}
    everything = {cell: {"from_run": "yesterday"} for cell in (first, second)}
    assert make_plan(made, HUB, earlier=everything).stages == []


def test_a_line_separator_inside_of_a_text_ends_no_record(tmp_path: Path) -> None:
    """U+2028 and U+0085 are lines to str.splitlines and not to JSON."""
    records = [{"cell": "abc", "error": "one\u2028two\x85three"}, {"cell": "xyz"}]
    lines = [json.dumps(record, ensure_ascii=False) for record in records]
    (tmp_path / "records.jsonl").write_text("\n".join([lines[0], lines[1][:-4], lines[1]]), encoding="utf-8")
    assert read_records(tmp_path) == records
