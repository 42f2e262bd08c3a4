"""What goes wrong costs no more than it must, is told once, and never shows what is in the rows."""

import importlib
import json
import os
import socket
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet
import pytest

import matrixhub as mh
from matrixhub.cli.main import main
from matrixhub.plugins import _discover_for
from tests.fixture_plugin.fake import write_plugin
from tests.toys import FAST, run_toy, toy_options, write_products

CANARY = "zanzibar-canary"
LONG = "x" * 100


def run_cli(folder: Path, *overrides: str) -> int:
    conf = folder / "conf"
    if not conf.exists():
        write_products(conf)
    return main(["run", "--config-dir", str(conf), *toy_options(folder), *overrides])


def test_one_cell_that_fails_costs_no_other(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Reliability row 18."""
    assert run_cli(tmp_path, "-m", "product=colour,broken,size", *FAST) == 1
    out, err = capsys.readouterr()
    (folder,) = (tmp_path / "runs").iterdir()
    records = [json.loads(line) for line in (folder / "records.jsonl").read_text().splitlines()]
    status = {record["product"]: record["status"] for record in records}
    assert status == {"colour": "done", "broken": "failed", "size": "done"}
    (failed,) = (record for record in records if record["status"] == "failed")
    assert "Unknown column 'txet'. Did you mean 'text'" in failed["error"]
    assert failed["exit_code"] == 2
    assert "broken-hash-linear failed: Unknown column 'txet'" in err
    assert "colour" in out and "size" in out
    assert len(list((folder / "artifacts").iterdir())) == 2
    assert not (folder / "errors.log").exists()
    assert "Traceback" not in err


def test_a_single_cell_that_fails_gives_its_own_exit_code(tmp_path: Path) -> None:
    assert run_cli(tmp_path, "product=broken") == 2


@pytest.mark.parametrize("key", ["product.outputs.label.target", "product.inputs.text.column"])
def test_a_column_that_is_not_there_costs_no_encoding(
    key: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run_cli(tmp_path, "product=colour", f"{key}=lable") == 2
    err = capsys.readouterr().err
    assert "Unknown column 'lable'" in err
    assert "encoded" not in err


def test_an_error_that_nobody_foresaw_is_logged_and_costs_one_cell(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail(self: Any, outputs: Any, targets: Any) -> Any:
        raise ZeroDivisionError("a fault of a plugin")

    monkeypatch.setattr("matrixhub_heads.tasks.Regression.loss", fail)
    run = run_toy(tmp_path, "product=size,colour", *FAST, multirun=True)
    assert [record["status"] for record in run.records] == ["failed", "done"]
    assert run.records[0]["error"] == "ZeroDivisionError: a fault of a plugin"
    assert run.records[0]["exit_code"] == 1
    log = (run.folder / "errors.log").read_text()
    assert log.startswith("size-hash-linear\nTraceback")
    with pytest.raises(mh.MatrixHubError, match="0 trained cells are called 'size'"):
        run.load("size")
    assert run_cli(tmp_path, "product=size", *FAST, f"output_dir={tmp_path / 'again'}") == 1
    assert "/errors.log" in capsys.readouterr().err.splitlines()[-1]


HOOKS = """
from matrixhub import hookimpl

SEEN = []

@hookimpl
def matrixhub_run_started(run):
    SEEN.append("run started")
    raise RuntimeError("first hook")

@hookimpl
def matrixhub_cell_started(cell):
    SEEN.append(f"{cell['product']['name']} started")
    raise RuntimeError("second hook")

@hookimpl
def matrixhub_cell_finished(cell, record):
    SEEN.append(f"{cell['product']['name']} {record['status']}")
    raise RuntimeError("third hook")

@hookimpl
def matrixhub_run_finished(run, records):
    SEEN.append(f"run finished with {len(records)}")
    raise RuntimeError("last hook")
"""


def test_hooks_are_told_everything_and_may_fail(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    module = write_plugin(tmp_path / "site", "hooked", HOOKS)
    monkeypatch.syspath_prepend(str(tmp_path / "site"))
    _discover_for.cache_clear()
    try:
        run = run_toy(tmp_path, "product=colour,broken", "trainer.epochs=1", multirun=True)
    finally:
        _discover_for.cache_clear()
    seen = importlib.import_module(module).SEEN
    assert seen == [
        "run started", "colour started", "colour done", "broken failed", "run finished with 2"
    ]  # fmt: skip
    assert [record["status"] for record in run.records] == ["done", "failed"]
    assert all(name in caplog.text for name in ("first hook", "second hook", "third hook", "last hook"))


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("trainer.epochs=0", "trainer.epochs=0: must be at least 1"),
        ("trainer.batch_size=0", "trainer.batch_size=0"),
        ("trainer.accumulation=0", "trainer.accumulation=0"),
        ("trainer.lr=0", "trainer.lr=0"),
        ("trainer.lr=.nan", "not a number"),
        ("trainer.clip=-1", "trainer.clip=-1"),
        ("trainer.patience=0", "trainer.patience=0"),
        ("trainer.warmup=1", "trainer.warmup=1"),
        ("trainer.weight_decay=-0.1", "trainer.weight_decay=-0.1"),
        ("trainer.schedule=cosin", "Did you mean 'cosine'"),
        ("trainer.lrr=1", "Did you mean 'trainer.lr'"),
        ("trainer.epochs=many", "trainer.epochs"),
        ("launch.mixed_precision=bf8", "Allowed: bf16, fp16, no"),
        ("launch.num_processes=0", "launch.num_processes=0"),
        ("trainer.monitor=label.acuracy", "choose one of loss, label.accuracy"),
    ],
)
def test_values_that_cannot_be_right_are_refused_in_one_message(
    tmp_path: Path, override: str, message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run_cli(tmp_path, "product=colour", override) == 2
    err = capsys.readouterr().err
    assert message in err
    assert "Traceback" not in err


def rows(*, bad: bool = False) -> dict[str, list[Any]]:
    """Sixty rows, each with the canary; the last label is long and unseen when ``bad``."""
    texts = [f"{CANARY} row {i} {'good' if i % 2 else 'bad'}" for i in range(60)]
    labels = [f"{'good' if i % 2 else 'bad'}" for i in range(60)]
    splits = [("train", "validation", "test")[max(0, i % 10 - 7)] for i in range(60)]
    if bad:
        labels[59] = f"{CANARY} {LONG}"
    return {"text": texts, "label": labels, "fold": splits}


def table_run(folder: Path, data: dict[str, list[Any]], *overrides: str) -> int:
    pa.parquet.write_table(pa.table(data), folder / "rows.parquet")
    options = ("product=text", f"product.source.path={folder}/rows.parquet", "product.split.column=fold")
    return run_cli(folder, *options, *overrides)


def everything_written(folder: Path) -> str:
    """Logs and records, but for the worst errors, which quote test rows for the report (decision 8)."""
    texts = [p.read_text() for p in (folder / "runs").rglob("*.log")]
    for line in (line for p in (folder / "runs").rglob("*.jsonl") for line in p.read_text().splitlines()):
        record = json.loads(line)
        for output in record.get("outputs", {}).values():
            output.pop("errors")
        texts.append(json.dumps(record))
    return "".join(texts)


@pytest.mark.parametrize("trainer", ["frozen", "finetune"])
def test_no_row_content_in_any_log(
    tmp_path: Path, trainer: str, capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    """Reliability row 27."""
    assert table_run(tmp_path, rows(), f"trainer={trainer}", "trainer.epochs=2") == 0
    out, err = capsys.readouterr()
    assert CANARY not in out + err + caplog.text + everything_written(tmp_path)


def test_no_row_content_when_a_run_fails_by_an_unforeseen_error(
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def fail(self: Any, items: Any) -> Any:
        raise RuntimeError("out of luck")

    monkeypatch.setattr("matrixhub_fixture.text.HashProcessor.collate", fail)
    assert table_run(tmp_path, rows()) == 1
    out, err = capsys.readouterr()
    written = everything_written(tmp_path)
    assert "out of luck" in written
    assert CANARY not in out + err + caplog.text + written


def test_errors_name_rows_but_do_not_print_long_values(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert table_run(tmp_path, rows(bad=True)) == 2
    err = capsys.readouterr().err
    assert "row 60, column 'label'" in err
    assert "x" * 60 not in err
    assert "encoded" not in err, "found out only after the costly part"


def test_a_label_that_training_has_none_of_is_told_with_a_cure(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = rows()
    data["label"][59] = "brown"
    assert table_run(tmp_path, data) == 2
    err = capsys.readouterr().err
    assert "row 60, column 'label': Unknown label 'brown'" in err
    for cure in ("Read more rows", "product.outputs.label.classes=", "product.split.stratify=true"):
        assert cure in err


def test_a_missing_target_is_named_before_training(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = rows()
    data["label"][31] = None
    assert table_run(tmp_path, data) == 2
    assert "row 32, column 'label'" in capsys.readouterr().err


def test_a_cell_whose_targets_are_bad_costs_no_encoding_and_no_other_cell(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = rows(bad=True) | {"good": rows()["label"]}
    sweep = "product.outputs.label.target=label,good"
    assert table_run(tmp_path, data, "-m", sweep, "trainer.epochs=1") == 1
    out, err = capsys.readouterr()
    assert err.count("encoded") == 1
    assert err.count("failed: row 60, column 'label'") == 1
    assert "accuracy" in out


def test_a_missing_value_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data = rows()
    data["text"][17] = None
    assert table_run(tmp_path, data, "trainer=frozen,finetune", "-m") == 1
    assert capsys.readouterr().err.count("row 18, column 'text': the value is missing") == 2


def test_a_source_without_rows(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert table_run(tmp_path, {"text": [], "label": [], "fold": []}) == 2
    assert "no rows" in capsys.readouterr().err


def test_tests_have_no_network() -> None:
    """Reliability row 28."""
    assert os.environ["HF_HUB_OFFLINE"] == "1"
    with pytest.raises(pytest.fail.Exception, match="tried to reach"), socket.socket() as far:
        far.connect(("192.0.2.1", 80))
    with socket.socket() as near, socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        server.listen()
        near.connect(server.getsockname())
