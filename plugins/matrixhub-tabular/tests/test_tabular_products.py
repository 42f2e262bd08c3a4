"""Products over tables: alone, with gaps, beside text and images, trained either way."""

import io
import json
import random
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from matrixhub_tabular import plugin
from PIL import Image

import matrixhub as mh
from matrixhub.data.splits import make_splits

DATA = {"cancer": (569, 30, "diagnosis"), "diabetes": (442, 10, "progression"), "wine": (178, 13, "cultivar")}
CONF = Path(plugin.__file__).parent / "conf"


def source(name: str) -> mh.Source:
    made: mh.Source = mh.create("source", f"tabular.{name}")
    return made


@pytest.mark.parametrize("name", DATA)
def test_rows_are_all_there_and_always_the_same(name: str) -> None:
    rows, columns, target = DATA[name]
    table = source(name).read()
    assert (table.num_rows, table.num_columns) == (rows, columns + 1)
    assert table.column_names[-1] == target
    assert pa.concat_tables(source(name).batches(100)).equals(table)
    assert source(name).fingerprint() == source(name).fingerprint()
    assert len({source(each).fingerprint() for each in DATA}) == 3


@pytest.mark.parametrize("name", DATA)
def test_a_product_names_every_column_but_the_target(name: str) -> None:
    made = mh.plan([f"product={name}", "head=linear"])
    assert not made.refused
    (cell,) = made.cells.values()
    assert cell.product["inputs"]["row"]["column"] == source(name).read().column_names[:-1]
    assert cell.encoder["tabular"]["name"] == "tabular.fixed"
    assert cell.head and cell.head["standardize"] == "each"


def test_an_untrained_network_is_refused_before_any_work() -> None:
    with pytest.raises(mh.ConfigError, match="take trainer=scratch"):
        mh.plan(["product=wine", "head=linear", "encoder/tabular=periodic"])
    assert not mh.plan(["product=wine", "head=linear", "encoder/tabular=periodic", "trainer=scratch"]).refused


def write_joined(folder: Path, rows: int = 500) -> Path:
    """Rows whose label is yes where two of three say so: a table with gaps, a text, an image."""
    rng = random.Random(0)
    made = []
    for number in range(rows):
        old, good, bright = (rng.random() < 0.5 for _ in range(3))
        stream = io.BytesIO()
        Image.new("RGB", (8, 8), (230 if bright else 20, rng.randrange(255), 90)).save(stream, format="PNG")
        made.append({
            "age": rng.choice([60 + rng.random(), None]) if old else 20 + rng.random(),
            "city": rng.choice(["Rome", "Oslo", None]),
            "member": rng.random() < 0.5,
            "text": f"a {'fine' if good else 'dull'} film no{number}",
            "image": {"bytes": stream.getvalue(), "path": None},
            "label": "yes" if old + good + bright >= 2 else "no",
        })  # fmt: skip
    pq.write_table(pa.Table.from_pylist(made), folder / "rows.parquet")
    conf = folder / "conf" / "product"
    conf.mkdir(parents=True)
    product = {
        "defaults": [{"source": "core.table"}, "_self_"],
        "name": "joined",
        "source": {"path": str(folder / "rows.parquet")},
        "inputs": {
            "row": {"column": ["age", "city", "member"], "modality": "tabular"},
            "text": {"column": "text", "modality": "text"},
            "image": {"column": "image", "modality": "image"},
        },
        "outputs": {"label": {"task": "classification", "target": "label"}},
    }
    (conf / "joined.yaml").write_text(json.dumps(product))
    return conf.parent


def run(folder: Path, *overrides: str) -> dict[str, Any]:
    conf = folder / "conf"
    made = mh.run(
        ["product=joined", "encoder/text=hash", "encoder/image=fixture.mean_image", "encoder/tabular=fixed",
         "head=linear", "head.standardize=each", "trainer.lr=0.03", "trainer.batch_size=32",
         f"output_dir={folder}/runs", f"cache_dir={folder}/cache", *overrides],
        config_dir=conf if conf.exists() else write_joined(folder), quiet=True,
    )  # fmt: skip
    (record,) = made.records
    assert record["status"] == "done", record["error"]
    return record


@pytest.mark.parametrize(
    "training",
    [
        ("trainer=frozen",),
        ("trainer=scratch", "trainer.epochs=10", "trainer.encoder_lr=0.01", "encoder/tabular=periodic"),
        ("trainer=scratch", "trainer.epochs=10", "trainer.encoder_lr=0.01"),
    ],
    ids=["frozen", "periodic", "fixed-beside-trained"],
)
def test_a_table_with_gaps_joins_text_and_image(tmp_path: Path, training: tuple[str, ...]) -> None:
    record = run(tmp_path, *training)
    assert record["metrics"]["label"]["accuracy"] > 0.8
    assert record["main"]["label"]["metric"] == "accuracy"
    product = mh.load(record["artifact"])
    rows = pq.read_table(tmp_path / "rows.parquet").to_pylist()
    answers = product(rows)
    right = [answer.value == row["label"] for answer, row in zip(answers, rows, strict=True)]
    assert np.mean(right) > 0.9
    asked = {"text": rows[0]["text"], "image": rows[0]["image"], "row": (rows[0]["age"], None, True)}
    by_column = {**rows[0], "city": None, "member": True}
    assert product(asked).scores == product(by_column).scores
    for row in (41, None, (41,), "old"):
        with pytest.raises(
            mh.DataError, match=r"3 columns expected \(age, city, member\), 1 given: give a tuple"
        ):
            product({**asked, "row": row})


@pytest.mark.parametrize("typed", [["encoder.tabular.raw=false"], ["encoder.tabular=fixed"], []])
def test_an_encoder_that_is_not_chosen_yet_is_to_be_chosen(tmp_path: Path, typed: list[str]) -> None:
    conf = write_joined(tmp_path)
    options = ["encoder/text=hash", "encoder/image=fixture.mean_image"]
    with pytest.raises(mh.ConfigError, match=r"encoder/tabular=NAME\. \w+: fixed, periodic\.$"):
        mh.plan(["product=joined", *options, *typed], config_dir=conf)
    mh.plan(
        ["product=joined", *options, "encoder/tabular=fixed", "encoder.tabular.raw=false"], config_dir=conf
    )


def test_gaps_are_refused_where_the_encoder_does_not_read_them(tmp_path: Path) -> None:
    write_joined(tmp_path)
    table = pq.read_table(tmp_path / "rows.parquet")
    texts = table["text"].to_pylist()
    texts[4] = None
    pq.write_table(table.set_column(3, "text", pa.array(texts)), tmp_path / "rows.parquet")
    for training in ("trainer=frozen", "trainer=finetune"):
        with pytest.raises(AssertionError, match=r"row 5, column 'text': the value is missing"):
            run(tmp_path, training, "trainer.epochs=1")


def test_a_csv_means_the_same_as_typed_rows(tmp_path: Path) -> None:
    lines = ["age,city,label"] + [
        f"{20 + i % 50},{'Rome' if i % 3 else ''},{i % 50 > 25}" for i in range(200)
    ]
    (tmp_path / "rows.csv").write_text("\n".join(lines))
    made = mh.run(
        ["product=tabular", f"product.source.path={tmp_path}/rows.csv", "head=linear", "trainer.lr=0.03",
         "product.inputs.row.column=[age,city]", f"output_dir={tmp_path}/runs", f"cache_dir={tmp_path}/c"],
        quiet=True,
    )  # fmt: skip
    (record,) = made.records
    assert record["metrics"]["label"]["accuracy"] > 0.9
    product = mh.load(record["artifact"])
    assert product(("65", "")).scores == product((65, None)).scores
    assert [a.value for a in product([(22, "Rome"), (66.0, None)])] == ["False", "True"]


@pytest.mark.slow
@pytest.mark.parametrize("name", DATA)
def test_heads_on_fixed_features_keep_up_with_scikit_learn(name: str, tmp_path: Path) -> None:
    from sklearn.linear_model import LogisticRegression, RidgeCV
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    made = mh.run(
        [f"product={name}", "head=linear,mlp", "product.split.seed=0,1,2", "baseline=false",
         f"output_dir={tmp_path}/runs", f"cache_dir={tmp_path}/cache"],
        multirun=True, quiet=True,
    )  # fmt: skip
    table, target = source(name).read(), DATA[name][2]
    columns = table.column_names[:-1]
    features = np.stack([table[column].to_numpy() for column in columns], axis=1)
    answers = np.array(table[target].to_pylist())
    theirs = []
    for seed in range(3):
        splits = make_splits(table, inputs=columns, target=target, fractions=(0.7, 0.1, 0.2), seed=seed)
        plain = RidgeCV(np.logspace(-2, 3, 20)) if name == "diabetes" else LogisticRegression(max_iter=5000)
        model = make_pipeline(StandardScaler(), plain).fit(features[splits.train], answers[splits.train])
        theirs.append(model.score(features[splits.test], answers[splits.test]))
    for head in ("linear", "mlp"):
        ours = [next(iter(r["metrics"].values())) for r in made.records if r["head"] == head]
        scores = [metrics["r2" if name == "diabetes" else "accuracy"] for metrics in ours]
        print(f"{name} {head}: {np.mean(scores):.3f}, scikit-learn {np.mean(theirs):.3f}")
        assert np.mean(scores) > np.mean(theirs) - 0.04
