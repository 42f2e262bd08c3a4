"""``predict`` and ``evaluate`` over files of every format, in batches, naming the row that is wrong."""

import csv
import json
import subprocess
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet
import pytest
from PIL import Image

import matrixhub as mh
from matrixhub.cli import predict
from matrixhub.cli.main import main
from matrixhub.run import product, score
from matrixhub.run.evaluate import Scores
from tests.command import SCRIPT, command, environment, python
from tests.toys import record_of

COLUMNS = ["text", "label", "number"]


@pytest.fixture(scope="module")
def table() -> pa.Table:
    toys = mh.create("source", "fixture.toy", rows=25, seed=4).read()
    numbers = pa.array(range(25))
    return toys.select(["text", "label"]).append_column("number", numbers)


def write(table: pa.Table, path: Path) -> Path:
    match path.suffix:
        case ".csv" | ".tsv":
            options = pa.csv.WriteOptions(delimiter="," if path.suffix == ".csv" else "\t")
            pa.csv.write_csv(table, path, options)
        case ".jsonl":
            path.write_text("".join(json.dumps(row) + "\n" for row in table.to_pylist()))
        case ".parquet":
            pa.parquet.write_table(table, path)
    return path


def read(path: Path) -> list[dict[str, Any]]:
    match path.suffix:
        case ".csv" | ".tsv":
            with path.open(newline="") as file:
                return list(csv.DictReader(file, delimiter="," if path.suffix == ".csv" else "\t"))
        case ".jsonl":
            return [json.loads(line) for line in path.read_text().splitlines()]
    rows: list[dict[str, Any]] = pa.parquet.read_table(path).to_pylist()
    return rows


def answers(artifact: Path, table: pa.Table) -> list[str]:
    return [answer.value for answer in mh.load(artifact)(table["text"].to_pylist())]


@pytest.mark.parametrize("suffix", [".csv", ".tsv", ".jsonl", ".parquet"])
def test_answers_stand_beside_the_rows_in_every_format(
    artifact: Path, table: pa.Table, tmp_path: Path, suffix: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(predict, "BATCH_ROWS", 10)
    file, out = write(table, tmp_path / f"rows{suffix}"), tmp_path / "deep" / f"out{suffix}"
    assert main(["predict", str(artifact), str(file), "-o", str(out)]) == 0
    rows = read(out)
    assert [row["predicted_label"] for row in rows] == answers(artifact, table)
    assert [int(row["number"]) for row in rows] == list(range(25))
    assert list(rows[0]) == [*COLUMNS, "predicted_label", "predicted_label_score", "truncated"]
    assert all(0.3 < float(row["predicted_label_score"]) <= 1 for row in rows)


def test_without_an_output_jsonl_goes_to_stdout(artifact: Path, table: pa.Table, tmp_path: Path) -> None:
    done = command("predict", str(artifact), str(write(table, tmp_path / "rows.csv")))
    assert done.returncode == 0, done.stderr
    rows = [json.loads(line) for line in done.stdout.splitlines()]
    assert [row["predicted_label"] for row in rows] == answers(artifact, table)
    assert done.stderr == ""


def test_several_outputs_and_tags(trained: mh.Run, tmp_path: Path) -> None:
    toys = mh.create("source", "fixture.toy", rows=5).read()
    rows = toys.select(["text", "words"])
    file = write(rows, tmp_path / "rows.jsonl")
    for name, columns in (
        ("several", {"predicted_label", "predicted_score", "predicted_topics"}),
        ("tagging", {"predicted_tags"}),
    ):
        out = tmp_path / f"{name}.jsonl"
        assert main(["predict", record_of(trained, name)["artifact"], str(file), "-o", str(out)]) == 0
        found = read(out)
        assert columns <= set(found[0])
        assert len(found) == 5
    assert [len(row["predicted_tags"]) for row in found] == [6] * 5


def test_images_by_path_relative_to_the_table(trained: mh.Run, tmp_path: Path) -> None:
    toys = mh.create("source", "fixture.toy", rows=6).read().to_pylist()
    for i, row in enumerate(toys):
        (tmp_path / f"{i}.png").write_bytes(row["image"]["bytes"])
    file, out = tmp_path / "rows.csv", tmp_path / "out.jsonl"
    file.write_text("image\n" + "".join(f"{i}.png\n" for i in range(6)))
    artifact = record_of(trained, "picture")["artifact"]
    assert main(["predict", artifact, str(file), "--paths", "image", "-o", str(out)]) == 0
    assert [row["predicted_label"] for row in read(out)] == [row["label"] for row in toys]


def test_a_wrong_column_is_answered_with_the_nearest(
    artifact: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "rows.csv"
    file.write_text("texts,other\na,b\n")
    assert main(["predict", str(artifact), str(file)]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err == (
        "matrixhub: there is no 'text', which this product reads. Did you mean 'text' where it says 'texts'? "
        "There is: texts, other.\n"
    )


@pytest.mark.parametrize("name", ["predict", "evaluate"])
@pytest.mark.parametrize("text", ["texts,label\na,b\n", "text,label\n"])
def test_what_the_header_tells_is_told_before_a_model_is_loaded(
    artifact: Path, tmp_path: Path, name: str, text: str
) -> None:
    (tmp_path / "rows.csv").write_text(text)
    script = "import json, sys; from matrixhub.cli.main import main; code = main(sys.argv[1:]);"
    script += "print(json.dumps([code, 'torch' in sys.modules]))"
    assert python(script, name, str(artifact), str(tmp_path / "rows.csv")) == [2, False]


def test_a_bad_row_far_in_is_named_and_leaves_no_file(
    trained: mh.Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(predict, "BATCH_ROWS", 10)
    toys = mh.create("source", "fixture.toy", rows=40).read().to_pylist()
    paths = []
    for i, row in enumerate(toys):
        paths.append(tmp_path / f"{i}.png")
        paths[-1].write_bytes(b"no image" if i == 33 else row["image"]["bytes"])
    file, out = tmp_path / "rows.csv", tmp_path / "out.csv"
    file.write_text("image\n" + "".join(f"{path.name}\n" for path in paths))
    artifact = record_of(trained, "picture")["artifact"]
    assert main(["predict", artifact, str(file), "--paths", "image", "-o", str(out)]) == 2
    assert "row 34" in capsys.readouterr().err
    assert not out.exists()
    assert not list(tmp_path.glob(".*"))


@pytest.mark.parametrize("name", ["head.csv", "empty.csv", "empty.jsonl"])
@pytest.mark.parametrize("verb", ["predict", "evaluate"])
def test_a_file_without_rows_is_refused(
    artifact: Path, tmp_path: Path, verb: str, name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / name
    file.write_text("text,label\n" if name == "head.csv" else "")
    assert main([verb, str(artifact), str(file)]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert name in err
    assert len(err.splitlines()) == 1


@pytest.mark.parametrize("suffix", [".csv", ".jsonl", ".parquet"])
def test_evaluate_scores_a_file(
    artifact: Path, table: pa.Table, tmp_path: Path, suffix: str, capsys: pytest.CaptureFixture[str]
) -> None:
    file = write(table, tmp_path / f"rows{suffix}")
    assert main(["evaluate", str(artifact), str(file), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    right = [a == b for a, b in zip(answers(artifact, table), table["label"].to_pylist(), strict=True)]
    assert found["num_rows"] == 25
    assert found["metrics"]["label"]["accuracy"] == pytest.approx(sum(right) / 25)


def test_evaluate_gives_the_score_of_the_record_on_the_same_rows(trained: mh.Run) -> None:
    """Tags too, whose batches are as wide as their longest row."""
    toys = mh.create("source", "fixture.toy", rows=300, given_split=True)

    class TestRows:
        def batches(self, size: int) -> Any:
            rows = toys.read()
            yield rows.filter(pa.compute.equal(rows["__split__"], "test"))

    for name in ("colour", "several", "tagging", "fused"):
        record = record_of(trained, name)
        found = score.score_product(mh.load(record["artifact"]), TestRows())  # type: ignore[arg-type]
        assert found.num_rows == record["num_rows"]["test"]
        for output, metrics in record["metrics"].items():
            assert found.metrics[output] == pytest.approx(metrics, abs=1e-5)


def test_a_figure_that_is_no_number_is_null_in_json(
    artifact: Path,
    table: pa.Table,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    found = Scores({"label": float("nan")}, {"label": {"accuracy": 0.5, "lift": float("inf")}}, 25)
    monkeypatch.setattr(score, "score_product", lambda product, source: found)
    assert main(["evaluate", str(artifact), str(write(table, tmp_path / "rows.csv")), "--json"]) == 0
    page = json.loads(capsys.readouterr().out, parse_constant=pytest.fail)
    assert page["metrics"] == {"label": {"accuracy": 0.5, "lift": None}}


def test_a_label_that_was_never_seen_is_named(
    artifact: Path,
    table: pa.Table,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(score, "BATCH_ROWS", 10)
    labels = table["label"].to_pylist()
    labels[21] = "grene"
    file = write(table.set_column(1, "label", pa.array(labels)), tmp_path / "rows.csv")
    assert main(["evaluate", str(artifact), str(file)]) == 2
    err = capsys.readouterr().err
    assert "row 22, column 'label'" in err
    assert "Did you mean 'green'" in err


def test_tags_that_do_not_fit_their_words_are_named(
    trained: mh.Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "rows.jsonl"
    rows = [{"words": ["the", "red"], "tags": ["O", "B-colour"]}, {"words": ["a", "car"], "tags": ["O"]}]
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    assert main(["evaluate", record_of(trained, "tagging")["artifact"], str(file)]) == 2
    assert "row 2, column 'tags': 1 tags for 2 words" in capsys.readouterr().err


def test_evaluate_misses_the_target(
    artifact: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "rows.csv"
    file.write_text("text,lable\na,b\n")
    assert main(["evaluate", str(artifact), str(file)]) == 2
    assert "Did you mean 'lable'" in capsys.readouterr().err


def test_a_reader_that_goes_away_is_no_error(artifact: Path, table: pa.Table, tmp_path: Path) -> None:
    file = write(pa.concat_tables([table] * 400), tmp_path / "rows.csv")
    done = subprocess.run(
        f"{SCRIPT} predict {artifact} {file} | head -1",
        shell=True, env=environment(), capture_output=True, text=True, check=False, timeout=120,
    )  # fmt: skip
    assert json.loads(done.stdout)["number"] == "0"
    assert "Traceback" not in done.stderr


FLAT = """
import json, resource, sys
from matrixhub.cli.main import main
artifact, small, large, out = sys.argv[1:]
peaks = []
for file in (small, large):
    assert main(["predict", artifact, file, "-o", out]) == 0
    peaks.append(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024)
print(json.dumps(peaks))
"""


def test_memory_is_flat_while_a_large_file_streams(artifact: Path, tmp_path: Path) -> None:
    """Ten times the rows (23 MB of text), next to no more memory: MB at their highest."""
    row = {"text": "the tiny red car " * 10, "other": "x" * 600}
    small, large = tmp_path / "small.jsonl", tmp_path / "large.jsonl"
    for path, count in ((small, 3_000), (large, 30_000)):
        path.write_text((json.dumps(row) + "\n") * count)
    peaks = python(FLAT, str(artifact), str(small), str(large), str(tmp_path / "out.jsonl"))
    assert peaks[1] - peaks[0] < 40, peaks


def test_answers_of_a_stream_name_the_row_of_the_stream(trained: mh.Run) -> None:
    made = mh.load(record_of(trained, "picture")["artifact"])
    toys = mh.create("source", "fixture.toy", rows=20).read()
    rows = toys.to_pylist()
    rows[17]["image"] = {"bytes": b"no image", "path": None}
    broken = pa.Table.from_pylist(rows, schema=toys.schema)
    stream = product.stream_answers(made, (broken.slice(i, 5) for i in range(0, 20, 5)))
    with pytest.raises(mh.DataError, match="row 18"):
        list(stream)


def test_a_folder_of_images_is_answered_and_scored(
    trained: mh.Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shades = {"red": (210, 50, 60), "blue": (50, 60, 210)}
    for label, shade in shades.items():
        (tmp_path / "photos" / label).mkdir(parents=True)
        Image.new("RGB", (8, 8), shade).save(tmp_path / "photos" / label / "1.png")
    artifact = record_of(trained, "picture")["artifact"]
    assert main(["predict", artifact, str(tmp_path / "photos")]) == 0
    answers = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [answer["predicted_label"] for answer in answers] == ["blue", "red"]
    assert all("label" not in answer for answer in answers)
    assert main(["evaluate", artifact, str(tmp_path / "photos"), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["metrics"]["label"]["accuracy"] == 1.0
    (tmp_path / "empty").mkdir()
    assert main(["predict", artifact, str(tmp_path / "empty")]) == 2
    assert "has no images" in capsys.readouterr().err
