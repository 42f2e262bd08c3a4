"""A matrix that is run again goes on where it was, and what changed is not taken for done."""

import json
import os
import re
import shutil
import signal
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest

import matrixhub as mh
from matrixhub.cli.main import main
from tests.command import SCRIPT, environment, python
from tests.toys import FAST, run_toy, toy_options, write_products

MATRIX = ("-m", "product=colour,topics,size,tagging,picture,fused", "head=linear,mlp", *FAST)
LATE = 120  # seconds after which a run that should have got somewhere has not

ALL_DONE = """
import json, sys
from matrixhub.cli.main import main
assert main(sys.argv[1:]) == 0
print()
print(json.dumps([name for name in ("torch", "accelerate", "transformers") if name in sys.modules]))
"""


def arguments(folder: Path, *overrides: str) -> list[str]:
    conf = folder / "conf"
    if not conf.exists():
        write_products(conf)
    return ["run", "--config-dir", str(conf), *toy_options(folder), *overrides]


def records_of(run: Path) -> list[dict[str, Any]]:
    path = run / "records.jsonl"
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def runs(folder: Path) -> list[Path]:
    return sorted((folder / "runs").glob("*"))


def outcome(record: dict[str, Any]) -> dict[str, Any]:
    """The figures that two runs of one cell must agree on: all but clocks."""
    keys = ("metrics", "baselines", "num_rows", "best_epoch", "num_steps")
    return flat({key: record[key] for key in keys})


def flat(value: Any, path: str = "") -> dict[str, float]:
    """Numbers of a nested record by their path, as pytest compares them."""
    if not isinstance(value, dict):
        return {path: value}
    return {k: v for key, item in value.items() for k, v in flat(item, f"{path}/{key}").items()}


def killed_after(folder: Path, num_records: int, *argv: str) -> None:
    """Run the command and kill it without notice once it has written so many records."""
    process = subprocess.Popen(
        [SCRIPT, *argv], env=environment(), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    deadline = time.monotonic() + LATE
    try:
        while not runs(folder) or len(records_of(runs(folder)[-1])) < num_records:
            assert process.poll() is None, "it ended before it could be killed"
            assert time.monotonic() < deadline
            time.sleep(0.002)
    finally:
        os.kill(process.pid, signal.SIGKILL)
        process.wait()


def test_a_matrix_that_was_killed_goes_on_and_ends_like_any_other(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Reliability row 17."""
    killed, whole = tmp_path / "killed", tmp_path / "whole"
    killed_after(killed, 3, *arguments(killed, *MATRIX))
    (first,) = runs(killed)
    finished = {record["cell"] for record in records_of(first)}
    assert 3 <= len(finished) < 12
    assert main(arguments(killed, *MATRIX)) == 0
    said = capsys.readouterr()
    assert f"{len(finished)} of 12 cells were done before ({first.name})" in said.err
    second = runs(killed)[1]
    resumed = records_of(second)
    assert {record["cell"] for record in resumed if record.get("from_run") == first.name} == finished
    fresh = [path.name for path in (second / "artifacts").iterdir()]
    assert len(fresh) == 12 - len(finished), "a finished cell was run again"
    assert main(arguments(whole, *MATRIX)) == 0
    uninterrupted = records_of(runs(whole)[0])
    assert [record["cell"] for record in resumed] == [record["cell"] for record in uninterrupted]
    for one, other in zip(resumed, uninterrupted, strict=True):
        assert outcome(one) == pytest.approx(outcome(other), rel=1e-4)
    assert scores(said.out) == scores(capsys.readouterr().out)
    assert timeless(second / "report.md", killed) == timeless(runs(whole)[0] / "report.md", whole)


def timeless(report: Path, folder: Path) -> str:
    """A report without dates, durations and the folder it is about."""
    text = report.read_text().replace(str(folder), "FOLDER")
    return re.sub(r"\d{4}-\d\d-\d\d\S*( [\d:]+ \+0000)?|[\d.]+ (ms|s)\b", "TIME", text)


def scores(leaderboard: str) -> list[list[str]]:
    """Lines of the table without their last column, the time it took."""
    table = leaderboard.partition("Artifacts in")[0].splitlines()
    return [line.split()[:-2] for line in table if "hash" in line or "mean_image" in line]


def test_only_what_failed_is_tried_again(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Reliability row 18."""
    argv = arguments(tmp_path, "-m", "product=colour,broken,size", *FAST)
    assert main(argv) == 1
    assert main(argv) == 1
    first, second = map(records_of, runs(tmp_path))
    assert [r["status"] for r in second] == ["done", "failed", "done"]
    assert [r.get("from_run") for r in second] == [runs(tmp_path)[0].name, None, runs(tmp_path)[0].name]
    assert sorted(r["cell"] for r in first) == sorted(r["cell"] for r in second)
    assert "broken-hash-linear failed" in capsys.readouterr().err


def test_a_matrix_that_is_done_answers_without_torch_until_it_is_forced(tmp_path: Path) -> None:
    argv = arguments(tmp_path, "product=colour", *FAST)
    assert main(argv) == 0
    assert python(ALL_DONE, *argv) == []
    assert len(list(tmp_path.glob("runs/*/artifacts"))) == 1
    assert main([*argv, "--force"]) == 0
    assert len(list(tmp_path.glob("runs/*/artifacts"))) == 2
    assert "from_run" not in records_of(runs(tmp_path)[2])[0]


def test_a_record_is_taken_over_from_run_to_run_and_its_product_loads(tmp_path: Path) -> None:
    first = run_toy(tmp_path, "product=colour", *FAST)
    for _ in range(2):
        again = run_toy(tmp_path, "product=colour", *FAST)
        assert again.records == [{**first.records[0], "from_run": first.folder.name}]
    assert again.load("colour")("the tiny blue car").value == "blue"


def test_a_cell_whose_artifact_is_gone_runs_again(tmp_path: Path) -> None:
    first = run_toy(tmp_path, "product=colour,size", *FAST, multirun=True)
    shutil.rmtree(first.records[0]["artifact"])
    again = run_toy(tmp_path, "product=colour,size", *FAST, multirun=True)
    assert [r.get("from_run") for r in again.records] == [None, first.folder.name]


def test_a_changed_source_file_is_not_taken_for_done(tmp_path: Path) -> None:
    """Reliability row 20."""
    table = tmp_path / "rows.csv"
    rows = [f"word{i} {'good' if i % 2 else 'bad'},{i % 2}" for i in range(60)]
    table.write_text("\n".join(["text,label", *rows]) + "\n")
    options = [*toy_options(tmp_path), "product=text", f"product.source.path={table}", "trainer.epochs=1"]
    options += ["product.split.stratify=true"]
    first = mh.run(options, quiet=True)
    assert list(mh.plan(options).done) == [first.records[0]["cell"]]
    table.write_text(table.read_text() + "one more good,1\n")
    assert not mh.plan(options).done
    table.unlink()
    with pytest.raises(mh.DataError, match="There is no file"):
        mh.plan(options)
