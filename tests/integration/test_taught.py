"""Generators that learn, and that read what encoders say: from rows to an artifact that writes."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from safetensors.torch import load_file, save_file

import matrixhub as mh
from matrixhub.artifacts.manifest import read_manifest, seal
from matrixhub.cli.main import main
from tests.toy_generators import tiny
from tests.toys import IMAGE, LABEL, TEXT, toy_options, write_products

WRITTEN = {"task": "generation", "target": "label"}
PRODUCTS: dict[str, dict[str, Any]] = {
    "caption": {"inputs": {"image": IMAGE}, "outputs": {"said": WRITTEN}},
    "picture": {"inputs": {"image": IMAGE}, "outputs": {"label": LABEL}},
    "named": {"inputs": {"text": TEXT}, "outputs": {"said": {**WRITTEN, "prompt": "{text}:"}}},
    "both": {
        "inputs": {"text": TEXT, "image": IMAGE},
        "outputs": {"said": {**WRITTEN, "prompt": "It is"}},
    },
    "encoded": {
        "inputs": {"text": {**TEXT, "prefix": True}, "other": {**TEXT, "column": "other"}},
        "outputs": {"said": {**WRITTEN, "prompt": "{other}:"}},
    },
}
SCRIBE = ("generator=scribe", "fusion=span", "generate.max_new_tokens=8")
LEARNS = ("trainer.epochs=12", "trainer.batch_size=32", "trainer.lr=0.01", "trainer.schedule=linear")
FINETUNE = ("trainer=finetune", "trainer.encoder_lr=0.01")


def options(folder: Path) -> list[str]:
    conf = folder / "conf"
    if not conf.exists():
        write_products(conf)
        for name, product in PRODUCTS.items():
            config = {"defaults": [{"source": "fixture.toy"}, "_self_"], "name": name, **product}
            config["source"] = {"rows": 300, "given_split": True}
            (conf / "product" / f"{name}.yaml").write_text(json.dumps(config))
    return [*toy_options(folder), *SCRIBE, *LEARNS]


def run(folder: Path, *overrides: str, **how: Any) -> mh.Run:
    return mh.run([*options(folder), *overrides], config_dir=folder / "conf", quiet=True, **how)


@pytest.fixture(scope="module")
def captions(tmp_path_factory: pytest.TempPathFactory) -> mh.Run:
    """Both the generator and what stands before it are trained, on images alone."""
    return run(tmp_path_factory.mktemp("captions"), "product=caption", *FINETUNE)


def test_a_generator_learns_to_say_what_an_image_shows(captions: mh.Run) -> None:
    (record,) = captions.records
    assert record["status"] == "done", record
    assert record["metrics"]["said"]["exact_match"] > 0.9
    assert record["baselines"]["said"]["commonest answer"]["exact_match"] < 0.5
    assert "the input itself" not in record["baselines"]["said"]
    losses = [epoch["loss"] for epoch in record["epochs"]]
    assert losses[-1] < 0.3 * losses[0]
    assert record["best_epoch"] == record["epochs"][losses.index(min(losses))]["epoch"]
    assert record["epochs"][0]["said.perplexity"] > record["epochs"][-1]["said.perplexity"] > 1
    assert record["num_rows"] == {"train": 210, "validation": 30, "test": 60}
    parts = record["parameters"]
    assert parts["trained"] == parts["generator"] + parts["prefix"]
    assert parts["encoder"] > 0
    assert record["train_seconds"] > 0 and record["encode"]


def test_the_artifact_answers_images_with_texts(captions: mh.Run, tmp_path: Path) -> None:
    (record,) = captions.records
    product, rows = captions.load("caption"), mh.create("source", "fixture.toy", rows=40).read()
    right = rows["label"].to_pylist()
    answers = [answer.value for answer in product.predict_table(rows)]
    assert sum(map(str.__eq__, answers, right)) > 36
    assert product(rows["image"][0].as_py()).value == answers[0]
    manifest = read_manifest(product.folder)
    assert sorted(manifest["files"]) == [
        "README.md", "encoders/image/encoder.safetensors", "generator/generator.safetensors",
        "readout.safetensors",
    ]  # fmt: skip
    card = (product.folder / "README.md").read_text()
    assert "trained too" in card and "`fixture.span`" in card and "Rows: 210 to train on" in card
    assert record["artifact_bytes"] > 0


def test_a_row_of_a_table_is_described(tmp_path: Path) -> None:
    """The third modality that encoders read: numbers and words of columns, before the same generator."""
    rows = [(i % 40, "wet" if i % 3 else "dry") for i in range(240)]
    lines = [f"{size},{kind},{'big' if size > 19 else kind}" for size, kind in rows]
    (tmp_path / "rows.csv").write_text("\n".join(["size,kind,said", *lines]))
    run_ = run(
        tmp_path,
        "product=tabular", f"product.source.path={tmp_path}/rows.csv",
        "product.inputs.row.column=[size,kind]",
        "product.inputs.row.prefix=true", "~product.outputs.label",
        "+product.outputs={said: {task: generation, target: said}}", "generate.max_new_tokens=10", *FINETUNE,
        "trainer.epochs=40", "trainer.patience=null",
    )  # fmt: skip
    (record,) = run_.records
    assert record["status"] == "done", record
    assert record["metrics"]["said"]["exact_match"] > 0.9
    assert record["baselines"]["said"]["commonest answer"]["exact_match"] < 0.5
    product = mh.load(record["artifact"])
    assert [one.value for one in product([{"size": 3, "kind": "wet"}, (35, "dry")])] == [
        "wet",
        "big",
    ]


def test_what_a_prefix_was_brought_to_is_kept_though_the_embeddings_have_learned(
    captions: mh.Run, tmp_path: Path
) -> None:
    writer, fresh = captions.load("caption").model, mh.create("generator", "scribe")
    assert abs(writer.generator.spread - fresh.spread) > 1e-4
    assert float(writer.bridge.spread) == pytest.approx(fresh.spread, rel=1e-6)


def test_an_artifact_of_before_that_was_kept_loads(captions: mh.Run, tmp_path: Path) -> None:
    (record,) = captions.records
    old = Path(shutil.copytree(record["artifact"], tmp_path / "old"))
    weights, manifest = old / "readout.safetensors", old / "manifest.json"
    kept = {name: tensor for name, tensor in load_file(weights).items() if name != "spread"}
    weights.unlink()  # its bytes may be another artifact's too
    save_file(kept, weights)
    told = json.loads(manifest.read_text())
    manifest.unlink()
    seal(old, {key: told[key] for key in told.keys() - {"format", "sha256", "files"}}, {})
    model = mh.load(old).model
    assert float(model.bridge.spread) == pytest.approx(model.generator.spread)


def test_predict_and_evaluate(captions: mh.Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    artifact, rows = captions.records[0]["artifact"], mh.create("source", "fixture.toy", rows=6).read()
    table = ["image,label"]
    for i, row in enumerate(rows.select(["image", "label"]).to_pylist()):
        (tmp_path / f"{i}.png").write_bytes(row["image"]["bytes"])
        table.append(f"{i}.png,{row['label']}")
    assert main(["predict", artifact, str(tmp_path)]) == 0
    said = [json.loads(line)["predicted_said"] for line in capsys.readouterr().out.splitlines()]
    assert said == [answer.value for answer in captions.load("caption").predict_table(rows)]
    (tmp_path / "rows.csv").write_text("\n".join(table))
    assert main(["evaluate", artifact, str(tmp_path / "rows.csv"), "--paths", "image", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    right = sum(map(str.__eq__, said, rows["label"].to_pylist()))
    assert found["metrics"]["said"]["exact_match"] == pytest.approx(right / 6)


def test_only_the_bridge_trains_before_a_frozen_generator(tmp_path: Path) -> None:
    done = run(tmp_path, "product=caption")
    (record,) = done.records
    assert record["parameters"]["trained"] == record["parameters"]["prefix"]
    losses = [epoch["loss"] for epoch in record["epochs"]]
    assert losses[-1] < losses[0] - 0.1
    kept = done.load("caption").model.generator.state_dict()
    fresh = mh.create("generator", "scribe").state_dict()
    assert all((tensor == kept[name]).all() for name, tensor in fresh.items())


def test_low_rank_matrices_train_and_are_stored_apart(tmp_path: Path) -> None:
    done = run(tmp_path, "product=caption", "trainer=lora", "trainer.encoder_lr=0.01")
    (record,) = done.records
    assert record["status"] == "done", record
    parts = record["parameters"]
    assert parts["prefix"] < parts["trained"] < parts["prefix"] + parts["generator"]
    product = done.load("caption")
    assert "generator/adapter.safetensors" in read_manifest(product.folder)["files"]
    rows = mh.create("source", "fixture.toy", rows=300, given_split=True).read()
    test = rows.filter([one == "test" for one in rows["__split__"].to_pylist()])
    said = [answer.value for answer in product.predict_table(test)]
    exact = sum(map(str.__eq__, said, test["label"].to_pylist())) / len(said)
    assert exact == pytest.approx(record["metrics"]["said"]["exact_match"])


def test_gpt2_learns_by_matrices_in_its_own_kind_of_layers(tmp_path: Path) -> None:
    model = ["generator=causal", f"generator.checkpoint={tiny('gpt2')}", "generator.chat=false"]
    how = ["trainer=lora", "trainer.encoder_lr=0.01", "trainer.epochs=3", "launch.cpu=true"]
    done = run(tmp_path, "product=named", *model, *how)
    (record,) = done.records
    assert record["status"] == "done", record["error"]
    assert 0 < record["parameters"]["trained"] < 0.3 * record["parameters"]["generator"]
    losses = [epoch["loss"] for epoch in record["epochs"]]
    assert losses[-1] < 0.9 * losses[0]
    assert "generator/adapter.safetensors" in read_manifest(done.load("named").folder)["files"]
    assert isinstance(done.load("named")("a tiny red cup here").value, str)


@pytest.mark.parametrize("product", ["named", "both", "encoded"])
def test_texts_in_the_prompt_and_before_it(product: str, tmp_path: Path) -> None:
    done = run(tmp_path, f"product={product}", *FINETUNE, "trainer.epochs=2")
    (record,) = done.records
    assert record["status"] == "done", record["error"]
    assert "the input itself" in record["baselines"]["said"]
    row = {"text": "a tiny red cup here", "other": "the cup was red", "image": _image()}
    assert isinstance(done.load(product)(row).value, str)


def _image() -> Any:
    return mh.create("source", "fixture.toy", rows=1).read()["image"][0].as_py()


def test_captions_and_classes_of_one_image_share_its_encoding(tmp_path: Path) -> None:
    both = [[*options(tmp_path), f"product={name}"] for name in ("picture", "caption")]
    plan = mh.plan(both, config_dir=tmp_path / "conf")
    assert len(plan.cells) == 2
    (encode,) = [stage for stage in plan.stages if stage.kind == "encode"]
    assert len(encode.cells) == 2
    assert [stage.kind for stage in plan.stages] == ["load", "split", "encode", "train", "generate"]


def test_the_plan_says_what_trains(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    argv = ["plan", "--config-dir", str(tmp_path / "conf"), *options(tmp_path)]
    assert main([*argv, "product=caption", "trainer=lora"]) == 0
    page = capsys.readouterr().out
    assert "trains the way from features to its prefix and low-rank matrices in it, then" in page
    assert "fixture.scribe writes its answers" in page


REFUSED = {
    "reads texts only": ("product=caption", "generator=echo"),
    "'core.concat' makes no vectors": ("product=caption", "fusion=concat"),
    "'fixture.echo' does not learn": ("product=named", "generator=echo", "trainer=finetune"),
    "trains by trainer=lora or finetune": ("product=named", "trainer=partial"),
    "names image, which is no text": ("product=both", "product.outputs.said.prompt='{image} is'"),
    "a generator trains by loss": ("product=caption", "trainer.monitor=said.f1"),
    "trainer.balance=uncertainty is for heads": ("product=caption", "trainer.balance=uncertainty"),
    "trainer.epochs=0: must be at least 1": ("product=caption", "trainer.epochs=0"),
}


@pytest.mark.parametrize("reason", REFUSED)
def test_what_cannot_be_is_refused(reason: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    argv = ["plan", "--config-dir", str(tmp_path / "conf"), *options(tmp_path)]
    assert main([*argv, *REFUSED[reason]]) == 2
    assert reason in capsys.readouterr().err


def test_a_missing_answer_is_told_before_anything_is_encoded(tmp_path: Path) -> None:
    table = tmp_path / "rows.jsonl"
    rows = [{"text": f"row {i}", "said": "yes" if i else None} for i in range(400)]
    table.write_text("\n".join(map(json.dumps, rows)))
    overrides = ["product=generation", f"product.source.path={table}", "product.outputs.answer.target=said"]
    done = run(tmp_path, *overrides, *FINETUNE)
    assert done.records[0]["status"] == "failed"
    assert done.records[0]["exit_code"] == 2
    assert "row 1" in done.records[0]["error"]


@pytest.mark.slow
def test_two_ranks_learn_the_same(captions: mh.Run, tmp_path: Path) -> None:
    ranks = ("launch.num_processes=2", "launch.cpu=true", "launch.timeout=60")
    done = run(tmp_path, "product=caption", *FINETUNE, *ranks)
    (record,), (alone,) = done.records, captions.records
    assert record["status"] == "done", record
    for one, other in zip(record["epochs"], alone["epochs"], strict=True):
        assert one["train_loss"] == pytest.approx(other["train_loss"], rel=1e-3)
    assert record["metrics"] == alone["metrics"]
