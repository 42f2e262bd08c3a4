"""Writers: what is written reads back, and nothing half-written has the final name."""

import datetime
import io
import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from matrixhub.data.tables import TableSource
from matrixhub.data.writers import open_writer
from matrixhub.errors import ConfigError, DataError

ROWS: list[dict[str, Any]] = [
    {"text": 'say "hi",\nplease', "score": 0.1, "tags": ["a", "b,c"], "scores": {"a": 0.25}},
    {"text": "é\r\0", "score": None, "tags": [], "scores": {"a": 1.0}},
    {"text": None, "score": 1e-17, "tags": None, "scores": None},
]


def write(path: Path, *parts: Any, **options: Any) -> None:
    with open_writer(path, **options) as writer:
        for part in parts:
            writer.write(part)


@pytest.mark.parametrize("kind", ["jsonl", "parquet"])
@pytest.mark.parametrize("as_table", [False, True])
def test_typed_formats_round_trip(tmp_path: Path, kind: str, as_table: bool) -> None:
    path = tmp_path / "new" / f"out.{kind}"
    parts: list[Any] = [ROWS[:2], ROWS[2:], []]
    if as_table:
        parts = [pa.Table.from_pylist(ROWS).slice(0, 2), pa.Table.from_pylist(ROWS).slice(2)]
    write(path, *parts)
    assert TableSource(path=str(path)).read().to_pylist() == ROWS


@pytest.mark.parametrize("kind", ["csv", "tsv"])
def test_delimited_round_trip(tmp_path: Path, kind: str) -> None:
    path = tmp_path / f"out.{kind}"
    write(path, ROWS[:1], pa.Table.from_pylist(ROWS[1:]))
    found = TableSource(path=str(path)).read().to_pylist()
    assert b"\r\n" not in path.read_bytes()
    assert [row["text"] for row in found] == ['say "hi",\nplease', "é\r\0", ""]
    assert [row["score"] for row in found] == ["0.1", "", "1e-17"]
    assert [row["tags"] for row in found] == ['["a", "b,c"]', "[]", ""]
    assert [json.loads(row["scores"] or "null") for row in found] == [row["scores"] for row in ROWS]


def test_one_column_of_empty_text_keeps_its_rows(tmp_path: Path) -> None:
    write(tmp_path / "a.csv", [{"text": "a"}, {"text": ""}, {"text": None}, {"text": "b"}])
    assert TableSource(path=str(tmp_path / "a.csv")).read().column("text").to_pylist() == ["a", "", "", "b"]


def test_what_json_does_not_know(tmp_path: Path) -> None:
    row = {"a": float("nan"), "b": [float("inf"), 1.0], "c": b"\x00\xff", "d": datetime.date(2020, 1, 2)}
    write(tmp_path / "a.jsonl", [row])
    expected = {"a": None, "b": [None, 1.0], "c": "AP8=", "d": "2020-01-02"}
    assert json.loads((tmp_path / "a.jsonl").read_text()) == expected


@pytest.mark.parametrize("kind", ["csv", "jsonl", "parquet"])
def test_an_error_leaves_the_old_file_and_nothing_else(tmp_path: Path, kind: str) -> None:
    path = tmp_path / f"out.{kind}"
    path.write_text("old")
    with pytest.raises(RuntimeError, match="stop"), open_writer(path) as writer:
        writer.write(ROWS[:1])
        assert path.read_text() == "old"
        raise RuntimeError("stop")
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("kind", ["csv", "jsonl", "parquet"])
def test_streams_stay_open(kind: str) -> None:
    stream = io.BytesIO()
    with open_writer(stream, kind) as writer:
        writer.write([{"a": 1}])
    assert stream.getvalue()
    with pytest.raises(RuntimeError, match="stop"), open_writer(stream, kind) as writer:
        raise RuntimeError("stop")
    del writer
    assert not stream.closed


def test_a_stream_is_not_completed_after_an_error() -> None:
    stream = io.BytesIO()
    with pytest.raises(RuntimeError, match="stop"), open_writer(stream, "parquet") as writer:
        writer.write([{"a": 1}])
        raise RuntimeError("stop")
    assert not stream.getvalue().endswith(b"PAR1")


def test_schema_gives_types_before_values(tmp_path: Path) -> None:
    schema = pa.schema([("a", pa.int64()), ("b", pa.list_(pa.string()))])
    write(tmp_path / "a.parquet", [{"a": None, "b": None}], [{"a": 1, "b": ["x"]}], schema=schema)
    table = TableSource(path=str(tmp_path / "a.parquet")).read()
    assert table.schema.types == schema.types
    assert table.column("a").to_pylist() == [None, 1]


def test_a_column_without_values_counts_as_text(tmp_path: Path) -> None:
    write(tmp_path / "a.parquet", [{"a": 1, "b": None}], [{"a": 2, "b": "x"}])
    assert TableSource(path=str(tmp_path / "a.parquet")).read().column("b").to_pylist() == [None, "x"]


@pytest.mark.parametrize("kind", ["csv", "parquet"])
def test_a_column_that_comes_late(tmp_path: Path, kind: str) -> None:
    with pytest.raises(DataError, match="column 'b': the rows written before have no such column, only a"):
        write(tmp_path / f"a.{kind}", [{"a": 1}], [{"a": 1, "b": 2}])


def test_values_that_do_not_fit(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="do not fit"):
        write(tmp_path / "a.parquet", [{"a": 1}], [{"a": "x"}])
    with pytest.raises(DataError, match="No rows were written"):
        write(tmp_path / "a.parquet")


def test_bad_formats(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"cannot be told from '\.xlsx'.*; rename it\.$"):
        write(tmp_path / "a.xlsx", ROWS)
    with pytest.raises(ConfigError, match="Did you mean 'jsonl'"):
        write(tmp_path / "a.jsonl", ROWS, format="json")
    with pytest.raises(ConfigError, match="need a format"), open_writer(io.BytesIO()):
        pass
