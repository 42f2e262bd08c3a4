"""What a run leaves behind, what it computes only once, and what it computes afresh."""

import importlib
import json
from pathlib import Path
from typing import Any

import pytest

import matrixhub as mh
from matrixhub.artifacts.folder import write_artifact
from matrixhub.data.cache import shelves
from matrixhub.run import encode, features
from matrixhub.run.model import build
from tests.toys import FAST, run_toy, toy_options, write_products

Calls = list[int]


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> Calls:
    """How many rows each encoding pass had."""
    seen: Calls = []

    def counted(encoder: Any, values: Any, rows: Any, **options: Any) -> Any:
        seen.append(len(rows))
        return encode.encode_part(encoder, values, rows, **options)

    monkeypatch.setattr(features, "encode_part", counted)
    return seen


def test_a_run_folder_holds_plan_records_and_artifacts(tmp_path: Path) -> None:
    run = run_toy(tmp_path, "product=colour", "head=linear,mlp", *FAST, multirun=True)
    assert run.folder.parent == tmp_path / "runs"
    reports = ("report.html", "report.md", "records.parquet")
    found = {path.name for path in run.folder.iterdir()}
    assert found == {"plan.json", "run.json", "records.jsonl", *reports, "artifacts"}
    plan = json.loads((run.folder / "plan.json").read_text())
    assert [cell["name"] for cell in plan["cells"]] == ["colour-hash-linear", "colour-hash-mlp"]
    lines = [json.loads(line) for line in (run.folder / "records.jsonl").read_text().splitlines()]
    assert lines == run.records
    for record in run.records:
        assert record["num_rows"] == {"train": 210, "validation": 30, "test": 60}
        assert Path(record["artifact"]).parent == run.folder / "artifacts"
        assert (Path(record["artifact"]) / "manifest.json").is_file()
        assert len(record["epochs"]) >= record["best_epoch"] > 0
        assert record["num_steps"] == 7 * len(record["epochs"])


def test_run_load_takes_names_ids_and_artifacts(tmp_path: Path) -> None:
    run = run_toy(tmp_path, "product=colour", "head=linear,mlp", *FAST, multirun=True)
    record = run.records[1]
    for name in (record["name"], record["cell"], Path(record["artifact"]).name):
        assert run.load(name)("the tiny blue car").value == "blue"
    with pytest.raises(mh.MatrixHubError, match=r"2 trained cells are called 'colour'.*colour-hash-linear-"):
        run.load("colour")
    with pytest.raises(mh.MatrixHubError, match="0 trained cells are called 'color'"):
        run.load("color")


def test_features_are_encoded_once_for_a_sweep_and_for_later_runs(tmp_path: Path, calls: Calls) -> None:
    run_toy(tmp_path, "product=colour,topics,several", "head=linear,mlp", *FAST, multirun=True)
    assert calls == [300]
    run_toy(tmp_path, "product=size", *FAST)
    assert calls == [300]


@pytest.mark.parametrize(
    "change",
    [
        "encoder.text.seed=1",
        "encoder.text.dim=32",
        "encoder.text.max_length=3",
        "product.source.seed=1",
        "product.inputs.text.column=[text,other]",
    ],
)
def test_another_encoder_or_other_rows_are_encoded_afresh(tmp_path: Path, calls: Calls, change: str) -> None:
    """Reliability row 20."""
    few = ("product=colour", "trainer.epochs=1", "baseline=false")
    assert not run_toy(tmp_path, *few).failed
    assert not run_toy(tmp_path, *few, change).failed
    assert len(calls) == 2
    assert not run_toy(tmp_path, *few, "trainer.seed=1").failed
    assert len(calls) == 2


def test_pooled_features_are_taken_from_those_with_tokens(tmp_path: Path, calls: Calls) -> None:
    options = ("product=fused", "trainer.epochs=2")
    alone = run_toy(tmp_path / "alone", *options, "fusion=weighted").records[0]
    once = sum(calls)
    run = run_toy(tmp_path, *options, "fusion=weighted,cross", multirun=True)
    assert sum(calls) == 2 * once
    assert [record["status"] for record in run.records] == ["done", "done"]
    (weighted,) = (record for record in run.records if "fusion=weighted" in record["overrides"])
    assert weighted["metrics"] == alone["metrics"]
    assert 0 in [stage["rows"] for stage in weighted["encode"].values()]


def test_of_a_source_that_grew_only_the_new_rows_are_encoded(tmp_path: Path, calls: Calls) -> None:
    few = ("product=colour", "trainer.epochs=1", "baseline=false")
    for rows in (300, 350, 200):
        assert not run_toy(tmp_path, *few, f"product.source.rows={rows}").failed
    assert calls == [300, 50]


def test_a_record_says_what_was_encoded_and_how(tmp_path: Path) -> None:
    few = ("product=colour", "trainer.epochs=1", "baseline=false")
    for rows, encoded in ((300, 300), (350, 50), (200, 0)):
        (record,) = run_toy(tmp_path, *few, f"product.source.rows={rows}").records
        (fact,) = record["encode"].values()
        assert (fact["rows"], fact["precision"]) == (encoded, "float32")
        assert fact["seconds"] >= 0


def test_rows_are_encoded_once_however_often_they_are_repeated(tmp_path: Path, calls: Calls) -> None:
    table = tmp_path / "rows.csv"
    rows = [f"word{i % 20} {'good' if i % 2 else 'bad'},{i % 2}" for i in range(200)]
    table.write_text("\n".join(["text,label", *rows]) + "\n")
    options = [*toy_options(tmp_path), "product=text", f"product.source.path={table}", "trainer.epochs=1"]
    assert not mh.run([*options, "product.split.stratify=true"], quiet=True).failed
    assert calls == [20]


def test_edited_rows_under_the_same_name_are_encoded_afresh(tmp_path: Path, calls: Calls) -> None:
    """Reliability row 20."""
    table = tmp_path / "rows.csv"
    options = [
        *toy_options(tmp_path),
        "product=text",
        f"product.source.path={table}",
        "trainer.epochs=1",
        "product.split.stratify=true",
    ]
    rows = [f"word{i} {'good' if i % 2 else 'bad'},{i % 2}" for i in range(60)]
    for edit in ("word3", "word3", "edited"):
        table.write_text("\n".join(["text,label", *rows]).replace("word3 ", f"{edit} ") + "\n")
        assert not mh.run(options, quiet=True).failed
    assert calls == [60, 1]


def test_edited_code_of_an_encoder_is_not_served_stale(
    tmp_path: Path, calls: Calls, monkeypatch: pytest.MonkeyPatch
) -> None:
    few = ("product=colour", "trainer.epochs=1", "baseline=false")
    run_toy(tmp_path, *few)
    monkeypatch.setattr(features, "code_digest", lambda target: "edited")
    run_toy(tmp_path, *few, "trainer.seed=1")
    assert len(calls) == 2


def test_other_weights_under_the_same_options_are_not_served_stale(
    tmp_path: Path, calls: Calls, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Reliability row 20: a checkpoint that was written anew."""

    def heavier(kind: str, options: Any) -> Any:
        module = build(kind, options)
        module.table.weight.data += 1
        return module

    few = ("product=colour", "trainer.epochs=1", "baseline=false")
    run_toy(tmp_path, *few)
    monkeypatch.setattr(importlib.import_module("matrixhub.run.session"), "build", heavier)
    run_toy(tmp_path, *few, "trainer.seed=1")
    assert calls == [300, 300]


def test_beyond_its_limit_the_store_forgets_what_others_used_longest_ago(
    tmp_path: Path, calls: Calls
) -> None:
    few = ("product=colour", "trainer.epochs=1", "baseline=false")
    run_toy(tmp_path, *few)
    run_toy(tmp_path, *few, "encoder.text.seed=1,2", "cache_limit_gb=1e-6", multirun=True)
    kept = [one.about["encoder"]["seed"] for one in shelves(tmp_path / "cache")]
    assert kept == [1, 2], "both are in use by that run"
    run_toy(tmp_path, *few, "encoder.text.seed=3", "cache_limit_gb=1e-6")
    assert [one.about["encoder"]["seed"] for one in shelves(tmp_path / "cache")] == [3]
    assert calls == [300] * 4


@pytest.mark.parametrize("damage", ["truncated", "flipped", "missing"])
def test_a_damaged_entry_of_the_store_is_rebuilt(tmp_path: Path, calls: Calls, damage: str) -> None:
    """Reliability row 19."""
    first = run_toy(tmp_path, "product=colour", *FAST)
    (data,) = (tmp_path / "cache").rglob("data.npy")
    raw = bytearray(data.read_bytes())
    if damage == "missing":
        data.unlink()
    else:
        raw[-1] ^= 0xFF
        data.write_bytes(raw if damage == "flipped" else raw[:-400])
    second = run_toy(tmp_path, "product=colour", *FAST, f"output_dir={tmp_path}/again")
    assert calls == [300, 300]
    assert second.records[0]["metrics"] == first.records[0]["metrics"]


def test_a_trained_encoder_needs_no_stored_features(tmp_path: Path, calls: Calls) -> None:
    run_toy(tmp_path, "product=colour", "trainer=finetune", "trainer.epochs=1")
    assert calls == []
    assert not (tmp_path / "cache").exists()


def test_frozen_encoders_are_linked_and_each_artifact_is_whole(tmp_path: Path) -> None:
    run = run_toy(tmp_path, "product=colour,size", "trainer.epochs=1", multirun=True)
    files = [Path(r["artifact"]) / "encoders" / "text" / "encoder.safetensors" for r in run.records]
    assert files[0].stat().st_ino == files[1].stat().st_ino
    assert files[0].stat().st_nlink == 2
    for record in run.records:
        assert mh.load(record["artifact"])("the tiny blue car").value is not None


def test_an_artifact_that_failed_is_not_linked_to(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    turns = iter([True, False])

    def fail_once(folder: Path, manifest: Any, content: Any) -> None:
        if next(turns):
            (tmp_path / "never").mkdir()
            content(tmp_path / "never")
            raise mh.ArtifactError("the disk is full")
        write_artifact(folder, manifest, content)

    monkeypatch.setattr(importlib.import_module("matrixhub.run.saved"), "write_artifact", fail_once)
    run = run_toy(tmp_path, "product=colour,size", "trainer.epochs=1", multirun=True)
    assert [record["status"] for record in run.records] == ["failed", "done"]
    assert run.load("size")("the tiny blue car").value is not None


def test_an_option_in_a_folder_of_its_own_makes_no_folder_of_artifacts(tmp_path: Path) -> None:
    conf = write_products(tmp_path / "conf")
    (conf / "head" / "mine").mkdir(parents=True)
    (conf / "head" / "mine" / "wide.yaml").write_text("name: heads.mlp\n")
    run = run_toy(tmp_path, "product=colour", "head=mine/wide", "trainer.epochs=1")
    assert not run.failed, run.failed
    assert Path(run.records[0]["artifact"]).parent == run.folder / "artifacts"


def test_without_validation_rows_the_record_says_what_chose_the_epoch(tmp_path: Path) -> None:
    options = ("product=colour", "product.source.given_split=false", *FAST)
    run = run_toy(tmp_path, *options, "product.split.fractions=[0.8,0,0.2]")
    assert run.records[0]["num_rows"]["validation"] == 0
    assert "training loss" in " ".join(run.records[0]["notes"])
    failed = run_toy(tmp_path, *options, "product.split.fractions=[0.8,0.2,0]").failed
    assert "no row is left for test" in failed[0]["error"]
    assert failed[0]["exit_code"] == 2


def test_rows_that_were_cut_are_counted_in_the_record(tmp_path: Path) -> None:
    run = run_toy(tmp_path, "product=colour", "encoder.text.max_length=3", "trainer.epochs=1")
    assert "300 rows are longer than their encoder reads" in " ".join(run.records[0]["notes"])


def test_a_metric_that_is_no_number_is_none_in_strict_json(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from matrixhub.report.table import print_run

    tasks = importlib.import_module("matrixhub_heads.tasks")
    found = {"accuracy": float("nan"), "macro_f1": 0.5}
    monkeypatch.setattr(tasks.Classification, "metrics", lambda self, outputs, targets: found)
    run = run_toy(tmp_path, "product=colour", "trainer.epochs=1")
    strict = json.loads((run.folder / "records.jsonl").read_text(), parse_constant=pytest.fail)
    assert strict["metrics"]["label"] == {"accuracy": None, "macro_f1": 0.5}
    assert strict["epochs"][0]["loss"] > 0
    assert mh.load(run.records[0]["artifact"]).manifest["metrics"]["label"]["accuracy"] is None
    print_run(run)
    assert " - " in capsys.readouterr().out


def test_functions_stay_functions_after_their_packages_are_imported(tmp_path: Path) -> None:
    importlib.import_module("matrixhub.run.loop")
    importlib.import_module("matrixhub.plan.cell")
    assert callable(mh.run)
    assert callable(mh.plan)
    conf = write_products(tmp_path / "conf")
    plan = mh.plan(["product=colour", *toy_options(tmp_path)], config_dir=conf)
    assert [cell.name for cell in plan.cells.values()] == ["colour-hash-linear"]
