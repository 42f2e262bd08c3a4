"""A real run's folder makes a report; a trained product carries its card."""

import json
import shutil
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
from huggingface_hub import ModelCard

import matrixhub as mh
from tests.command import command, python
from tests.unit.report.test_page import SECTIONS


def test_a_run_of_every_task_has_a_report(trained: mh.Run, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    shutil.copytree(
        trained.folder, folder, ignore=shutil.ignore_patterns("artifacts", "report.*", "*.parquet")
    )
    done = command("report", str(folder))
    assert done.returncode == 0, done.stderr
    page = (folder / "report.html").read_text()
    assert all(f'id="{name}"' in page for name in SECTIONS - {"refused"})
    rows = pq.read_table(folder / "records.parquet").to_pylist()
    assert {row["product"] for row in rows} == {record["product"] for record in trained.records}
    for row in rows:
        assert row["low"] <= row["score"] <= row["high"], row
        assert row["latency_ms"] > 0 and row["num_parameters"] > 0 and row["artifact_bytes"] > 0


def test_records_are_strict_json_and_short(trained: mh.Run) -> None:
    for line in (trained.folder / "records.jsonl").read_text().splitlines():
        record = json.loads(line, parse_constant=lambda name: 1 / 0)
        assert len(line) < 40_000
        for output in record["outputs"].values():
            assert len(output["errors"]) <= 10


def test_a_report_needs_no_torch(trained: mh.Run) -> None:
    code = (
        "import json, sys; from matrixhub.report.load import load_run;"
        "from matrixhub.report.page import run_page;"
        "run_page(load_run(sys.argv[1])); print(json.dumps(sorted({'torch', 'numpy'} & set(sys.modules))))"
    )
    assert python(code, str(trained.folder)) == []


def test_a_folder_without_a_run_is_told(tmp_path: Path) -> None:
    done = command("report", str(tmp_path))
    assert done.returncode == 2
    assert "is not the folder of a run" in done.stderr and "Traceback" not in done.stderr


def test_an_artifact_holds_its_card(artifact: Path) -> None:
    manifest = json.loads((artifact / "manifest.json").read_text())
    assert "README.md" in manifest["files"]
    text = (artifact / "README.md").read_text()
    data: Any = ModelCard(text).data
    results = {result.metric_type: result.metric_value for result in data.eval_results}
    assert results["accuracy"] == manifest["metrics"]["label"]["accuracy"]
    assert str(artifact.parent) not in text, "no path of this machine"
    mh.load(str(artifact))
