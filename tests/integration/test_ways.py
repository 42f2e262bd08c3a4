"""Encoders that train in part or by low-rank matrices, from the command line to answers."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch

import matrixhub as mh
from matrixhub.artifacts.weights import load_weights
from tests.command import command
from tests.toys import FAST, record_of, run_toy, toy_options, write_products

DEEP = ("product=colour", "encoder.text.layers=2", "baseline=false", *FAST)
PARTIAL = (*DEEP, "trainer=partial", *FAST)
LORA = (*DEEP, "trainer=lora", *FAST)
ROWS = ["a red thing", "something blue, and green", "red", ""]


def losses(record: dict[str, Any]) -> list[float]:
    return [epoch["train_loss"] for epoch in record["epochs"]]


def files(record: dict[str, Any]) -> dict[str, Path]:
    folder = Path(record["artifact"])
    return {str(path.relative_to(folder)): path for path in folder.rglob("*") if path.is_file()}


def weights(record: dict[str, Any]) -> Path:
    return files(record)["encoders/text/encoder.safetensors"]


def test_the_command_trains_the_last_layers_and_answers_with_them(tmp_path: Path) -> None:
    conf = write_products(tmp_path / "conf")
    done = command("run", "--config-dir", str(conf), *toy_options(tmp_path), *PARTIAL)
    assert done.returncode == 0, done.stderr
    assert "below its last 1 over fixture.toy.text: 300 rows" in done.stderr
    (folder,) = (tmp_path / "runs").glob("*/artifacts/*")
    manifest = json.loads((folder / "manifest.json").read_text())
    assert manifest["trainer"]["trainable_layers"] == 1
    assert "last layers trained too" in (folder / "README.md").read_text()
    (tmp_path / "rows.csv").write_text("text\na red thing\n")
    answer = command("predict", str(folder), str(tmp_path / "rows.csv"))
    assert answer.returncode == 0 and "red" in answer.stdout


def test_hidden_states_are_encoded_once_and_recomputed_beyond_the_budget(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    sweep = "trainer.layers_budget_gb=20,1e-6"
    write_products(tmp_path / "conf")
    run = mh.run(
        [*toy_options(tmp_path), *PARTIAL, sweep, "trainer.lr=0.03,0.01"],
        config_dir=tmp_path / "conf", multirun=True,
    )  # fmt: skip
    stored, again, other_stored, other_again = run.records
    assert losses(stored) == pytest.approx(losses(again), abs=1e-6)
    assert losses(other_stored) == pytest.approx(losses(other_again), abs=1e-6)
    assert losses(stored) != losses(other_stored)
    told = capsys.readouterr().err
    assert told.count("300 rows in") == 1
    assert told.count("over trainer.layers_budget_gb=1e-06; they are recomputed in each epoch") == 1


@pytest.mark.parametrize("way", [PARTIAL, LORA], ids=["partial", "lora"])
def test_an_artifact_answers_as_in_training(tmp_path: Path, way: tuple[str, ...]) -> None:
    run = run_toy(tmp_path, *way)
    record, product = run.records[0], run.load("colour")
    table = mh.create("source", "fixture.toy", rows=300, given_split=True).read()
    test = table.filter([split == "test" for split in table["__split__"].to_pylist()])
    outputs, _ = product.outputs_of(test)
    head = product.model.readout.head("label")
    classes = product.manifest["targets"]["label"]["classes"]
    wanted = torch.tensor([classes.index(label) for label in test["label"].to_pylist()])
    assert float(head.loss(outputs["label"], wanted)) == pytest.approx(record["losses"]["label"], abs=1e-5)
    assert record["metrics"]["label"]["accuracy"] > 0.9
    assert record["parameters"]["trained"] < record["parameters"]["encoder"] / 2


def test_frozen_layers_stay_and_the_last_ones_change(tmp_path: Path) -> None:
    frozen, partial = (run_toy(tmp_path, *way).records[0] for way in (DEEP, PARTIAL))
    before, after = load_weights(weights(frozen)), load_weights(weights(partial))
    changed = {name for name in before if not before[name].equal(after[name])}
    assert changed == {"blocks.1.linear.weight", "blocks.1.linear.bias"}


def test_lora_artifacts_share_the_base_with_frozen_ones_on_disk_and_in_memory(tmp_path: Path) -> None:
    run = run_toy(tmp_path, *LORA, "trainer.seed=0,1", multirun=True)
    frozen = run_toy(tmp_path, *DEEP).records[0]
    one, other = run.records
    assert weights(one).samefile(weights(other))
    assert not weights(one).samefile(weights(frozen))  # of another run
    assert weights(one).read_bytes() == weights(frozen).read_bytes()
    adapters = [files(record)["encoders/text/adapter.safetensors"] for record in run.records]
    assert adapters[0].read_bytes() != adapters[1].read_bytes()
    folders = [record["artifact"] for record in (one, other, frozen)]
    together, alone = mh.load(folders), [mh.load(folder) for folder in folders]
    for product, by_itself in zip(together, alone, strict=True):
        assert [a.scores for a in product(ROWS)] == [a.scores for a in by_itself(ROWS)]
    encoders: list[Any] = [product.model.encoders["text"] for product in together]
    tables = {encoder.table.weight.data_ptr() for encoder in encoders}
    assert len(tables) == 1
    assert together[0](ROWS)[1].scores != together[1](ROWS)[1].scores


def test_encoders_that_trained_are_not_shared(tmp_path: Path) -> None:
    run = run_toy(tmp_path, *PARTIAL, "trainer.seed=0,1", multirun=True)
    one, other = mh.load([record["artifact"] for record in run.records])
    assert one.model.encoders["text"] is not other.model.encoders["text"]
    assert not weights(run.records[0]).samefile(weights(run.records[1]))


def test_a_pair_trains_one_encoder_with_both_texts(tmp_path: Path) -> None:
    record = record_of(run_toy(tmp_path, *PARTIAL, "product=pair", "head=pair"), "pair", "pair")
    assert record["status"] == "done"


@pytest.mark.parametrize(
    ("overrides", "told"),
    [
        ((*PARTIAL, "product=picture"), "'fixture.mean_image' cannot be cut"),
        ((*PARTIAL, "product=tagging"), "take trainer=finetune"),
    ],
)
def test_what_cannot_be_cut_is_refused(tmp_path: Path, overrides: tuple[str, ...], told: str) -> None:
    with pytest.raises(mh.ConfigError, match=told):
        run_toy(tmp_path, *overrides)


@pytest.mark.parametrize(
    ("overrides", "told"),
    [
        ((*PARTIAL, "trainer.trainable_layers=3"), "HashText has 2 layers here"),
        ((*LORA, "trainer.lora.targets=[query]"), "no layers named query. Choose from: linear"),
        ((*LORA, "encoder.text.layers=0"), "no linear layers. Choose from: none"),
    ],
)
def test_what_the_encoder_does_not_have_fails_its_cell(
    tmp_path: Path, overrides: tuple[str, ...], told: str
) -> None:
    (record,) = run_toy(tmp_path, *overrides).records
    assert record["status"] == "failed"
    assert told in str(record["error"])
