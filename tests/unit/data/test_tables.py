"""Tables: what is in the file is what is read, loaded or streamed."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from matrixhub.data import delimited
from matrixhub.data.tables import TableSource
from matrixhub.errors import DataError
from matrixhub.protocols import Source
from matrixhub.types import PATH_FIELD, SPLIT_COLUMN, UNTYPED_FIELD

Rows = list[dict[str, Any]]
ROWS: Rows = [{"text": f'row {i}, said "{i}"\nand more', "label": str(i % 3)} for i in range(50)]


def quoted(text: str) -> str:
    return '"' + text.replace('"', '""') + '"'


def as_delimited(rows: Rows, path: Path, mark: str) -> None:
    lines = [mark.join(quoted(cell) for cell in row.values()) for row in rows]
    path.write_text("\n".join([mark.join(rows[0]), *lines]) + "\n", encoding="utf-8")


def as_jsonl(rows: Rows, path: Path) -> None:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")


def as_parquet(rows: Rows, path: Path) -> None:
    pq.write_table(pa.Table.from_pylist(rows), path, row_group_size=7)


WRITERS: dict[str, Callable[[Rows, Path], None]] = {
    "csv": lambda rows, path: as_delimited(rows, path, ","),
    "tsv": lambda rows, path: as_delimited(rows, path, "\t"),
    "jsonl": as_jsonl,
    "parquet": as_parquet,
}


@pytest.fixture(params=WRITERS)
def table_file(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    path = tmp_path / f"rows.{request.param}"
    WRITERS[request.param](ROWS, path)
    return path


def test_every_format_gives_the_same_rows(table_file: Path) -> None:
    source = TableSource(path=str(table_file))
    assert isinstance(source, Source)
    assert source.read().to_pylist() == ROWS


@pytest.mark.parametrize("batch_size", [1, 7, 50, 1000])
def test_streaming_equals_loading(table_file: Path, batch_size: int) -> None:
    source = TableSource(path=[str(table_file), str(table_file)])
    batches = list(source.batches(batch_size))
    assert all(batch.num_rows == batch_size for batch in batches[:-1])
    assert pa.concat_tables(batches).equals(source.read(), check_metadata=True)
    assert sum(batch.num_rows for batch in batches) == 100


def test_limit_stops_early(table_file: Path) -> None:
    assert TableSource(path=str(table_file), limit=11).read().to_pylist() == ROWS[:11]


def test_csv_guesses_nothing(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_bytes(b"\xef\xbb\xbfid,when,none\r\n007,2020-01-01,NA\r\n1e5,true,\r\n\r\n ,null,nan\r\n")
    table = TableSource(path=str(path)).read()
    assert table.to_pydict() == {
        "id": ["007", "1e5", " "],
        "when": ["2020-01-01", "true", "null"],
        "none": ["NA", "", "nan"],
    }
    assert all(field.type == pa.string() and field.metadata == UNTYPED_FIELD for field in table.schema)


def test_a_megabyte_of_text_and_nul_fit_in_a_csv_cell(tmp_path: Path) -> None:
    path = tmp_path / "long.csv"
    text = "word \0" * 200_000
    path.write_text(f"text\n{text}\nshort\n", encoding="utf-8")
    assert TableSource(path=str(path)).read().column("text").to_pylist() == [text, "short"]


def test_rows_over_the_edge_of_a_block_are_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(delimited, "_BLOCK", 100)
    as_delimited(ROWS, tmp_path / "a.csv", ",")
    assert TableSource(path=str(tmp_path / "a.csv")).read().to_pylist() == ROWS


def test_delimiter(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text("a;b\n1,5;2\n")
    assert TableSource(path=str(path), delimiter=";").read().to_pylist() == [{"a": "1,5", "b": "2"}]


def test_jsonl_keeps_types_and_fills_gaps(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    rows: Rows = [
        {"a": 1, "tags": []},
        {"a": 2.5, "when": "2020-01-01"},
        {"tags": ["x", None], "m": {"k": True}},
    ]
    as_jsonl(rows, path)
    table = TableSource(path=str(path)).read()
    assert table.column("a").to_pylist() == [1.0, 2.5, None]
    assert table.column("when").to_pylist() == [None, "2020-01-01", None]
    assert table.column("tags").to_pylist() == [[], None, ["x", None]]
    assert table.column("m").to_pylist() == [None, None, {"k": True}]


def test_a_jsonl_column_that_begins_with_nulls_has_one_type_in_every_batch(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    as_jsonl([{"a": None, "b": 1}] * 5000 + [{"a": "x", "b": 0.5}], path)
    schemas = {batch.schema for batch in TableSource(path=str(path)).batches(1000)}
    assert schemas == {pa.schema([("a", pa.string()), ("b", pa.float64())])}


def test_parquet_categories_are_read_as_values(tmp_path: Path) -> None:
    labels = pa.array(["a", "b", "a"]).dictionary_encode()
    pq.write_table(pa.table({"label": labels}), tmp_path / "a.parquet")
    table = TableSource(path=str(tmp_path / "a.parquet")).read()
    assert table.schema == pa.schema([("label", pa.string())])
    assert table.column("label").to_pylist() == ["a", "b", "a"]


def test_glob_is_sorted_and_columns_may_come_in_any_order(tmp_path: Path) -> None:
    (tmp_path / "part-2.csv").write_text("b,a\n4,3\n")
    (tmp_path / "part-1.csv").write_text("a,b\n1,2\n")
    table = TableSource(path=str(tmp_path / "part-*.csv")).read()
    assert table.to_pylist() == [{"a": "1", "b": "2"}, {"a": "3", "b": "4"}]


def test_mapping_of_splits(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("a\n1\n2\n3\n")
    (tmp_path / "b.csv").write_text("a\n4\n")
    source = TableSource(path={"train": str(tmp_path / "a.csv"), "dev": [str(tmp_path / "b.csv")]}, limit=2)
    expected = {"a": ["1", "2", "4"], SPLIT_COLUMN: ["train", "train", "validation"]}
    assert source.read().to_pydict() == expected
    assert pa.concat_tables(source.batches(2)).to_pydict() == expected


def test_paths_are_absolute_and_marked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "data" / "img").mkdir(parents=True)
    (tmp_path / "data" / "img" / "1.png").write_bytes(b"x")
    (tmp_path / "data" / "a.csv").write_text("image,label\nimg/1.png,cat\n../data/img/1.png,dog\n")
    monkeypatch.chdir(tmp_path)
    table = TableSource(path="data/a.csv", paths=["image"]).read()
    assert table.column("image").to_pylist() == [str(tmp_path / "data" / "img" / "1.png")] * 2
    assert table.schema.field("image").metadata == PATH_FIELD
    assert table.schema.field("label").metadata == UNTYPED_FIELD


def test_fingerprint_follows_content_options_and_named_files(tmp_path: Path) -> None:
    table, image = tmp_path / "a.csv", tmp_path / "1.png"
    table.write_text("image\n1.png\n")
    image.write_bytes(b"x")

    def fingerprint(**options: Any) -> str:
        return TableSource(path=str(table), **options).fingerprint()

    plain, with_paths = fingerprint(), fingerprint(paths=["image"])
    assert plain == fingerprint()
    assert len({plain, with_paths, fingerprint(limit=1), fingerprint(delimiter=";")}) == 4
    image.write_bytes(b"xy")
    assert (fingerprint(), fingerprint(paths=["image"])) != (plain, with_paths)
    assert fingerprint() == plain
    with pytest.raises(DataError, match="Did you mean 'image'"):
        fingerprint(paths=["imag"])
    os.utime(table)
    assert fingerprint() == plain
    table.write_text("image\n2.png\n")
    assert fingerprint() != plain


def test_a_source_is_made_and_fingerprinted_without_heavy_imports(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("a\n1\n")
    code = f"""
import sys
from matrixhub.data import datasets, images, tables
tables.TableSource(path={str(tmp_path / "a.csv")!r}).fingerprint()
images.ImageFolderSource(path={str(tmp_path)!r})
datasets.DatasetSource(path={str(tmp_path)!r}).fingerprint()
print([name for name in ("pyarrow", "numpy", "torch", "datasets") if name in sys.modules])
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


MEMORY = """
import resource, sys
from matrixhub.data import delimited
from matrixhub.errors import DataError
from matrixhub.data.tables import TableSource
import pyarrow.csv, pyarrow.parquet
source = TableSource(path=sys.argv[1])
seen = 0
for batch in source.batches(256):
    seen += batch.num_rows
    if seen == 256 * 100:
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
print(seen, (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) // 1024)
"""


@pytest.mark.parametrize("format_name", ["csv", "jsonl"])
def test_batches_of_a_big_file_take_flat_memory(tmp_path: Path, format_name: str) -> None:
    path, num_rows = tmp_path / f"big.{format_name}", 100_000
    line = "a row of text " * 80
    with path.open("w") as file:
        file.write("text,label\n" if format_name == "csv" else "")
        for i in range(num_rows):
            file.write(
                f"{i} {line},x\n" if format_name == "csv" else json.dumps({"text": f"{i} {line}"}) + "\n"
            )
    assert path.stat().st_size > 100 * 2**20
    done = subprocess.run(
        [sys.executable, "-c", MEMORY, str(path)], capture_output=True, text=True, check=True
    )
    rows, megabytes = map(int, done.stdout.split())
    assert rows == num_rows
    assert megabytes < 40
