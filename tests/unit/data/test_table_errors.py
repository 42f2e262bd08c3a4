"""Bad tables: one sentence that says what is wrong, where, and what to do."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from matrixhub.data.digests import row_digests
from matrixhub.data.tables import TableSource
from matrixhub.errors import ConfigError, DataError

# file name, content, expected row, what the message says
BAD_FILES: list[tuple[str, bytes, int | None, str]] = [
    ("empty.csv", b"", None, "is empty"),
    ("bom_only.csv", b"\xef\xbb\xbf", None, "is empty"),
    ("header_only.csv", b"a,b", None, "has a header and no rows"),
    ("header_and_blanks.csv", b"a,b\n\n\n", None, "has a header and no rows"),
    ("twice.csv", b"a,b,a\n1,2,3\n", None, "more than one column called 'a'"),
    ("long_row.csv", b"a,b\n1,2\n\n1,2,3\n", 1, "has 3 cells here, the header has 2"),
    ("short_row.csv", b"a,b\n1,2\n3,4\n5\n", 2, "has 1 cell here, the header has 2"),
    ("open_quote.csv", b'a,b\n1,2\n"3,4\n5,6\n', 1, "a quote may be left open"),
    ("open_last_quote.csv", b'a,b\n1,2\n3,"4\n5,6\n', None, "never closed"),
    ("latin.csv", b"a,b\n1,2\n3,caf\xe9\n", None, "is not UTF-8 (see line 3)"),
    ("latin_header.csv", b"caf\xe9,b\n1,2\n", None, "is not UTF-8 (see line 1)"),
    ("utf16.csv", "a,b\n1,2\n".encode("utf-16"), None, "is UTF-16"),
    ("split.csv", b"a,__split__\n1,train\n", None, "a name MatrixHub keeps"),
    ("empty.jsonl", b"\n \n", None, "is empty"),
    ("broken.jsonl", b'{"a": 1}\n\n{"a": \n', 1, "line 3 of"),
    ("list.jsonl", b'[\n{"a": 1}\n]\n', 0, "a JSON list over many lines?"),
    ("not_object.jsonl", b'{"a": 1}\n[1]\n', 1, "is not a JSON object"),
    ("key_twice.jsonl", b'{"a": 1}\n{"a": 1, "a": 2}\n', 1, "has the key 'a' twice"),
    ("inner_key_twice.jsonl", b'{"a": {"b": 1, "b": 2}}\n', 0, "has the key 'b' twice"),
    ("nan.jsonl", b'{"a": 1.5}\n{"a": NaN}\n', 1, "has NaN"),
    ("infinity.jsonl", b'{"a": -Infinity}\n', 0, "has -Infinity"),
    (
        "text_after_numbers.jsonl",
        b'{"a": 1}\n{"a": null}\n{"a": "x"}\n{"a": 2}\n',
        2,
        "holds string here and int64",
    ),
    ("bool_after_number.jsonl", b'{"a": 1}\n{"a": true}\n', 1, "holds bool here and int64 above"),
    ("far_apart.jsonl", b'{"a": 1}\n' * 9000 + b'{"a": "x"}\n', 9000, "holds string here and int64 above"),
    ("mixed_list.jsonl", b'{"a": [1]}\n{"a": [1, "x"]}\n', 1, "cannot be stored"),
    ("big_integer.jsonl", b'{"a": 1}\n{"a": 99999999999999999999}\n', 1, "cannot be stored"),
    ("surrogate.jsonl", b'{"a": "x"}\n{"a": "\\ud800"}\n', 1, "half a surrogate pair"),
    ("deep.jsonl", b'{"a": ' + b"[" * 100_000 + b"}\n", 0, "lists too deep"),
    ("latin.jsonl", b'{"a": "x"}\n{"a": "caf\xe9"}\n', None, "is not UTF-8 (see line 2)"),
    ("not.parquet", b"a,b\n1,2\n", None, "is not a readable parquet file"),
]


@pytest.mark.parametrize("case", BAD_FILES, ids=[case[0] for case in BAD_FILES])
@pytest.mark.parametrize("how", ["read", "batches"])
def test_bad_file(tmp_path: Path, case: tuple[str, bytes, int | None, str], how: str) -> None:
    name, content, row, message = case
    (tmp_path / name).write_bytes(content)
    source = TableSource(path=str(tmp_path / name))
    with pytest.raises(DataError) as caught:
        source.read() if how == "read" else list(source.batches(2))
    assert message in str(caught.value)
    assert name in str(caught.value)
    assert caught.value.row == row


def test_a_row_too_long_to_hold(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("a,b\n1," + "x" * 20_000_000 + "\n2,3\n")
    with pytest.raises(DataError, match="a row longer than 8 MB"):
        TableSource(path=str(tmp_path / "a.csv")).read()


def test_empty_parquet(tmp_path: Path) -> None:
    pq.write_table(pa.table({"a": pa.array([], pa.string())}), tmp_path / "a.parquet")
    with pytest.raises(DataError, match="has no rows"):
        TableSource(path=str(tmp_path / "a.parquet")).read()


def test_truncated_parquet_page(tmp_path: Path) -> None:
    path = tmp_path / "a.parquet"
    pq.write_table(pa.table({"a": [f"text {i}" for i in range(10_000)]}), path, compression="zstd")
    content = bytearray(path.read_bytes())
    content[200:2000] = bytes(1800)
    path.write_bytes(content)
    with pytest.raises(DataError, match=r"a\.parquet"):
        TableSource(path=str(path)).read()


def test_missing_file_names_its_neighbours(tmp_path: Path) -> None:
    (tmp_path / "reviews.csv").write_text("a\n1\n")
    with pytest.raises(DataError, match=r"Did you mean '.*reviews\.csv'"):
        TableSource(path=str(tmp_path / "review.csv"))
    for name in ("empty.csv", "head.csv", "句子.csv"):
        (tmp_path / name).write_text("a\n1\n")
    with pytest.raises(DataError, match=r"There is no file .*nope\.csv\.$"):
        TableSource(path=str(tmp_path / "nope.csv"))
    with pytest.raises(DataError, match=r"Did you mean '.*head\.csv'\?$"):
        TableSource(path=str(tmp_path / "head.tsv"))
    with pytest.raises(DataError, match="No file matches"):
        TableSource(path=str(tmp_path / "*.jsonl"))
    with pytest.raises(DataError, match=r"its folder .* does not exist"):
        TableSource(path=str(tmp_path / "nowhere" / "a.csv"))
    with pytest.raises(DataError, match="is a folder"):
        TableSource(path=str(tmp_path))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"format": "cvs"}, "Did you mean 'csv'"),
        ({"limit": 0}, "limit is 0"),
        ({"delimiter": "||"}, "one ASCII character"),
    ],
)
def test_bad_option(tmp_path: Path, options: Mapping[str, Any], message: str) -> None:
    (tmp_path / "a.csv").write_text("a\n1\n")
    with pytest.raises(ConfigError, match=message):
        TableSource(path=str(tmp_path / "a.csv"), **options).read()


def test_unknown_extension(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("a\n1\n")
    with pytest.raises(
        ConfigError, match=r"cannot be told from '\.txt'.*rename it.*product\.source\.format=csv"
    ):
        TableSource(path=str(tmp_path / "a.txt")).read()
    assert TableSource(path=str(tmp_path / "a.txt"), format="csv").read().num_rows == 1


def test_files_with_other_columns(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("a,b\n1,2\n")
    (tmp_path / "b.csv").write_text("a,c\n1,2\n")
    with pytest.raises(DataError, match=r"b\.csv lacks 'b' and adds 'c'"):
        next(TableSource(path=str(tmp_path / "*.csv")).batches(1))


def test_files_with_other_types(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text('{"a": 1}\n')
    (tmp_path / "b.jsonl").write_text('{"a": "x"}\n')
    with pytest.raises(DataError, match="differ in the type of a column"):
        TableSource(path=str(tmp_path / "*.jsonl")).read()


@pytest.mark.parametrize("names", [("train", "training"), ("train", "trian")])
def test_bad_split_names(tmp_path: Path, names: Sequence[str]) -> None:
    (tmp_path / "a.csv").write_text("a\n1\n")
    with pytest.raises((DataError, ConfigError), match=r"twice|'trian' where one of train"):
        TableSource(path={name: str(tmp_path / "a.csv") for name in names})


def test_missing_image_is_found_early_and_named(tmp_path: Path) -> None:
    (tmp_path / "cat1.png").write_bytes(b"x")
    (tmp_path / "a.csv").write_text("image\ncat1.png\ncat2.png\n")
    source = TableSource(path=str(tmp_path / "a.csv"), paths=["image"])
    with pytest.raises(
        DataError, match=r"row 2, column 'image': There is no file .*Did you mean '.*cat1\.png'"
    ):
        source.read()
    assert sum(batch.num_rows for batch in source.batches(1)) == 2


def test_missing_image_far_down_is_named(tmp_path: Path) -> None:
    (tmp_path / "1.png").write_bytes(b"x")
    (tmp_path / "a.jsonl").write_text('{"image": "1.png"}\n' * 5000 + '{"image": "2.png"}\n')
    with pytest.raises(DataError, match=r"row 5001, column 'image'"):
        TableSource(path=str(tmp_path / "a.jsonl"), paths=["image"]).read()


@pytest.mark.parametrize("text", ["a long text taken for a path " * 1000, "a\0b"])
def test_text_that_is_no_path(tmp_path: Path, text: str) -> None:
    (tmp_path / "a.csv").write_text(f"image\n{text}\n")
    source = TableSource(path=str(tmp_path / "a.csv"), paths=["image"])
    assert source.fingerprint()
    with pytest.raises(DataError, match=r"row 1, column 'image': .* no file") as caught:
        source.read()
    assert len(str(caught.value)) < 500
    (table,) = source.batches(1)
    with pytest.raises(DataError, match=r"row 1, column 'image': its file cannot be read"):
        row_digests(table, ["image"])


def test_a_cell_that_names_no_file_is_null(tmp_path: Path) -> None:
    (tmp_path / "1.png").write_bytes(b"x")
    (tmp_path / "a.csv").write_text("image,b\n1.png,1\n,2\n  ,3\n")
    (tmp_path / "a.jsonl").write_text('{"image": "1.png"}\n{"image": null}\n{"image": ""}\n')
    for name in ("a.csv", "a.jsonl"):
        table = TableSource(path=str(tmp_path / name), paths=["image"]).read()
        assert table["image"].to_pylist() == [str(tmp_path / "1.png"), None, None]


def test_bad_paths_columns(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("image,b\n,1\n")
    (tmp_path / "a.jsonl").write_text('{"image": 1}\n')
    with pytest.raises(DataError, match="Did you mean 'image'"):
        TableSource(path=str(tmp_path / "a.csv"), paths=["imge"]).read()
    with pytest.raises(DataError, match="int64 where 'paths' needs file names"):
        TableSource(path=str(tmp_path / "a.jsonl"), paths=["image"]).read()
