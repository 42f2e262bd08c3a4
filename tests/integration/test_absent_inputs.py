"""Rows that lack some of their inputs: trained on and answered, whatever joins the inputs."""

import json
import random
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import matrixhub as mh
from matrixhub.cli.main import main
from tests.fixture_plugin.matrixhub_fixture.toy import ToySource
from tests.toys import FAST, toy_options

ROWS = 300
LABEL = {"task": "classification", "target": "label"}


def write_rows(path: Path, *, both_missing: int | None = None) -> pa.Table:
    """Toy rows of which a third lack the text and another third the image; each alone tells the colour."""
    table = ToySource(rows=ROWS, seed=0, given_split=False).read().select(["text", "image", "label"])
    rows, rng = table.to_pylist(), random.Random(0)
    for row in rows:
        if name := rng.choice(["text", "image", None]):
            row[name] = None
    if both_missing is not None:
        rows[both_missing] |= {"text": None, "image": None}
    made = pa.Table.from_pylist(rows, schema=table.schema)
    pq.write_table(made, path)
    return made


def options(folder: Path, *, optional: bool = True) -> list[str]:
    """A product of these rows in that folder, and a run of it."""
    conf = folder / "conf" / "product"
    conf.mkdir(parents=True, exist_ok=True)
    inputs = {name: {"column": name, "modality": name, "optional": optional} for name in ("text", "image")}
    (conf / "gaps.yaml").write_text(json.dumps({
        "defaults": [{"source": "core.table"}, "_self_"],
        "name": "gaps", "source": {"path": str(folder / "rows.parquet")},
        "inputs": inputs, "outputs": {"label": LABEL},
    }))  # fmt: skip
    return ["product=gaps", *toy_options(folder), *FAST]


def run(folder: Path, *overrides: str, optional: bool = True) -> dict[str, Any]:
    made = mh.run([*options(folder, optional=optional), *overrides], config_dir=folder / "conf", quiet=True)
    (record,) = made.records
    return record


@pytest.mark.parametrize("fusion", ["concat", "weighted", "bilinear", "shared", "cross"])
def test_rows_lack_an_input_in_training_and_in_use(tmp_path: Path, fusion: str) -> None:
    table = write_rows(tmp_path / "rows.parquet")
    record = run(tmp_path, f"fusion={fusion}", "head=mlp", "trainer.lr=0.005", "trainer.epochs=40")
    assert record["status"] == "done", record["error"]
    assert record["metrics"]["label"]["accuracy"] > 0.75
    missing = table["text"].null_count
    assert f"{missing} of {ROWS} rows lack text; what stands in for it was learned." in record["notes"]
    baseline = record["baselines"]["label"]
    assert set(baseline) >= {"majority class"}
    encoded = sum(stage["rows"] for stage in record["encode"].values())
    assert encoded == 2 * ROWS - missing - table["image"].null_count
    product = mh.load(record["artifact"])
    rows = table.to_pylist()
    answers = product(rows)
    assert sum(a.value == row["label"] for a, row in zip(answers, rows, strict=True)) > 0.8 * ROWS
    lacking = next(row for row in rows if row["image"] is None)
    alone = product({"text": lacking["text"]})
    among = answers[rows.index(lacking)]
    assert alone.value == product((lacking["text"], None)).value == among.value
    assert alone.score == pytest.approx(among.score, abs=1e-5)
    with pytest.raises(mh.DataError, match=r"row 2: it has no value for any input \(text, image\)"):
        product([rows[0], {"text": None}])


def test_rows_lack_an_input_where_encoders_train(tmp_path: Path) -> None:
    write_rows(tmp_path / "rows.parquet")
    record = run(tmp_path, "trainer=finetune", "trainer.encoder_lr=0.01", "trainer.epochs=8")
    assert record["status"] == "done", record["error"]
    assert record["metrics"]["label"]["accuracy"] > 0.8


def test_a_row_that_lacks_all_inputs_is_named_before_anything_is_encoded(tmp_path: Path) -> None:
    write_rows(tmp_path / "rows.parquet", both_missing=41)
    record = run(tmp_path)
    assert record["status"] == "failed"
    assert "row 42: it has no value for any input (text, image)" in record["error"]
    assert not list(tmp_path.glob("cache/features/*"))


def test_an_input_is_not_optional_unless_it_says_so(tmp_path: Path) -> None:
    table = write_rows(tmp_path / "rows.parquet")
    first = 1 + table["text"].to_pylist().index(None)
    record = run(tmp_path, optional=False)
    assert record["status"] == "failed"
    assert f"row {first}, column 'text': the value is missing" in record["error"]


@pytest.mark.parametrize("trainer", ["frozen", "partial", "finetune"])
def test_an_empty_cell_of_a_csv_is_no_value_of_an_optional_input(tmp_path: Path, trainer: str) -> None:
    rows = [
        f"the {'red' if i % 2 else 'blue'} thing no{i},{'' if i % 3 else f'note {i}'},{i % 2}"
        for i in range(200)
    ]
    (tmp_path / "rows.csv").write_text("\n".join(["text,other,label", *rows]))
    made = mh.run(
        ["product=pair", *toy_options(tmp_path), f"trainer={trainer}", *FAST, "encoder.text.layers=2",
         f"product.source.path={tmp_path}/rows.csv", "product.inputs.first.column=text",
         "product.inputs.second.column=other", "product.inputs.second.optional=true", "head=linear"],
        quiet=True,
    )  # fmt: skip
    (record,) = made.records
    assert record["status"] == "done", record["error"]
    assert record["metrics"]["label"]["accuracy"] > 0.9
    assert "133 of 200 rows lack second; what stands in for it was learned." in record["notes"]
    product = mh.load(record["artifact"])
    assert product({"first": "the red thing", "second": None}).value == "1"
    with pytest.raises(mh.DataError, match="Did you mean 'second' where it says 'secnd'"):
        product({"first": "the red thing", "secnd": "note 1"})
    answers = product.predict_table(
        pa.table({"text": ["the blue thing", "the red thing"], "other": [None, "x"]})
    )
    assert [answer.value for answer in answers] == ["0", "1"]


def test_empty_cells_that_were_read_as_texts_are_counted(tmp_path: Path) -> None:
    rows = [f"the {'red' if i % 2 else 'blue'} thing no{i},{'' if i % 4 else i},{i % 2}" for i in range(80)]
    (tmp_path / "rows.csv").write_text("\n".join(["first,second,label", *rows]))
    made = mh.run(
        ["product=pair", *toy_options(tmp_path), *FAST, f"product.source.path={tmp_path}/rows.csv"],
        quiet=True,
    )
    (note,) = [note for note in made.records[0]["notes"] if "empty cell" in note]
    assert note.startswith("60 of 80 rows have an empty cell for second, which was read as an empty text; ")
    assert "product.inputs.second.optional=true" in note


@pytest.mark.parametrize("prefix", [True, False], ids=["before the prompt", "in the prompt"])
def test_a_generator_answers_rows_that_lack_an_input(tmp_path: Path, prefix: bool) -> None:
    """What it reads before the prompt is learned for such rows; in the prompt nothing stands there."""
    table = write_rows(tmp_path / "rows.parquet")
    options(tmp_path)
    preset = tmp_path / "conf" / "product" / "gaps.yaml"
    gaps = json.loads(preset.read_text())
    gaps["inputs"]["text"] |= {"prefix": prefix}
    prompt = "It is" if prefix else "{text}:"
    gaps["outputs"] = {"said": {"task": "generation", "target": "label", "prompt": prompt}}
    preset.write_text(json.dumps(gaps))
    epochs = 20 if prefix else 1
    run = mh.run(
        ["product=gaps", *toy_options(tmp_path), "generator=scribe", "fusion=span", "trainer=finetune",
         "trainer.encoder_lr=0.01", "trainer.lr=0.01", f"trainer.epochs={epochs}", "trainer.batch_size=32",
         "trainer.schedule=linear", "generate.max_new_tokens=8"],
        config_dir=tmp_path / "conf", quiet=True,
    )  # fmt: skip
    (record,) = run.records
    assert record["status"] == "done", record["error"]
    learned, nothing = "what stands in for it was learned", "nothing stands in its place in the prompt"
    missing = {name: table[name].null_count for name in ("text", "image")}
    instead = {"text": learned if prefix else nothing, "image": learned}
    for name, count in missing.items():
        assert f"{count} of {ROWS} rows lack {name}; {instead[name]}." in record["notes"]
    if prefix:
        assert record["metrics"]["said"]["exact_match"] > 0.75
        assert record["baselines"]["said"]["commonest answer"]["exact_match"] < 0.5
    product, rows = mh.load(record["artifact"]), table.to_pylist()
    answers = product(rows)
    lacking = {name: next(i for i, row in enumerate(rows) if row[name] is None) for name in missing}
    alone = [product({name: rows[i][name] for name in missing if name != gap}) for gap, i in lacking.items()]
    assert [one.value for one in alone] == [answers[i].value for i in lacking.values()]
    with pytest.raises(mh.DataError, match=r"row 1: it has no value for any input \(text, image\)"):
        product([{"text": None}])


@pytest.mark.parametrize("kind", ["csv", "jsonl"])
def test_a_cell_of_a_path_column_may_be_empty_where_its_input_is_optional(tmp_path: Path, kind: str) -> None:
    rows = ToySource(rows=90, seed=0, given_split=False).read().select(["text", "image", "label"]).to_pylist()
    for i, row in enumerate(rows):
        (tmp_path / f"{i}.png").write_bytes(row["image"]["bytes"])
        row["image"] = f"{i}.png" if i % 3 else None
    if kind == "csv":
        lines = ["text,image,label", *(f"{r['text']},{r['image'] or ''},{r['label']}" for r in rows)]
    else:
        lines = list(map(json.dumps, rows))
    (tmp_path / f"rows.{kind}").write_text("\n".join(lines) + "\n")
    conf, source = options(tmp_path), f"product.source.path={tmp_path}/rows.{kind}"
    words = [*conf, source, "product.source.paths=[image]"]
    (record,) = mh.run(words, config_dir=tmp_path / "conf", quiet=True).records
    assert record["status"] == "done", record["error"]
    assert "30 of 90 rows lack image; what stands in for it was learned." in record["notes"]
    file, out = str(tmp_path / f"rows.{kind}"), tmp_path / "answers.jsonl"
    assert main(["predict", record["artifact"], file, "--paths", "image", "-o", str(out)]) == 0
    assert len(out.read_text().splitlines()) == 90
    needed = [*words, "product.inputs.image.optional=false"]
    (record,) = mh.run(needed, config_dir=tmp_path / "conf", quiet=True).records
    assert "row 1, column 'image': it names no file." in record["error"]
    assert "product.inputs.image.optional=true" in record["error"]
