"""What makes two rows the same."""

import io
import time
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from matrixhub.data.digests import row_digests
from matrixhub.data.tables import TableSource
from matrixhub.errors import DataError
from matrixhub.types import PATH_FIELD


def digests(*values: Any, exact: bool = False) -> list[bytes]:
    """One row at a time, for values that don't share a type."""
    return [row_digests(pa.table({"x": [value]}), ["x"], exact=exact)[0] for value in values]


SAME = [
    ("Great  film!\n", " great film! "),
    ("ＡＢＣ　１", "abc 1"),
    ("e\u0301té", "ÉTÉ"),
    ("Straße", "STRASSE"),
    ("\u0390", "\u03aa\u0301"),
    (1, 1.0),
    (["A", None], ["a", None]),
    ({"x": "A"}, {"x": "a "}),
]


@pytest.mark.parametrize(("one", "other"), SAME)
def test_loosely_the_same_and_exactly_not(one: Any, other: Any) -> None:
    assert len(set(digests(one, other))) == 1
    assert len(set(digests(one, other, exact=True))) == 2


@pytest.mark.parametrize("exact", [False, True])
def test_all_different(exact: bool) -> None:
    values = [
        "1",
        1,
        2,
        1.5,
        None,
        "",
        "None",
        True,
        b"1",
        ["1"],
        [["1"]],
        [],
        ["1", "2"],
        ["12"],
        {"a": "1"},
    ]
    found = digests(*values, exact=exact)
    assert len(set(found)) == len(values)
    assert {len(digest) for digest in found} == {32}


def test_cells_do_not_run_into_each_other() -> None:
    table = pa.table({"a": ["x", "xs", "x"], "b": ["sy", "y", "sy"]})
    first, second, third = row_digests(table, ["a", "b"])
    assert first == third != second
    assert row_digests(table, ["b", "a"])[0] != first


def test_order_chunks_and_names_do_not_matter() -> None:
    texts = [f"text {i}" for i in range(20_000)]
    whole = row_digests(pa.table({"a": texts}), ["a"])
    chunked = pa.table({"b": pa.chunked_array([texts[:7], texts[7:9000], texts[9000:]])})
    assert row_digests(chunked, ["b"]) == whole
    assert row_digests(pa.table({"a": texts[::-1]}), ["a"]) == whole[::-1]


def test_a_known_digest_that_must_never_change() -> None:
    """Splits and stored features of users hang on it."""
    (digest,) = row_digests(pa.table({"x": ["Some  Text"]}), ["x"])
    assert digest.hex() == "45abe7f2df537d8882f335b60a41b63cf717ed015b9ef71cee9fa4c01e596db1"


def test_csv_and_parquet_agree(tmp_path: Path) -> None:
    texts = ["One row", 'with "quotes", commas', "and\nlines"]
    pq.write_table(pa.table({"text": texts}), tmp_path / "a.parquet")
    (tmp_path / "a.csv").write_text('text\nOne row\n"with ""quotes"", commas"\n"and\nlines"\n')
    one, other = (TableSource(path=str(tmp_path / f"a.{kind}")).read() for kind in ("csv", "parquet"))
    assert row_digests(one, ["text"], exact=True) == row_digests(other, ["text"], exact=True)


def test_rows_of_mixed_columns_differ_by_type_and_by_what_is_missing() -> None:
    ages = pa.array([41, None, 41, None], pa.int64())
    cities = pa.array(["Rome", "Rome", None, None])
    digests = row_digests(pa.table({"age": ages, "city": cities}), ["age", "city"], exact=True)
    assert len(set(digests)) == 4
    as_text = pa.table({"age": ages.cast(pa.string()), "city": cities})
    assert row_digests(as_text, ["age", "city"], exact=True)[0] != digests[0]
    turned = row_digests(pa.table({"age": cities, "city": ages}), ["age", "city"], exact=True)
    assert not {*digests[:3]} & {*turned[:3]}, "a value counts where it stands"


def path_table(*paths: Path) -> pa.Table:
    field = pa.field("image", pa.string(), metadata=PATH_FIELD)
    return pa.table([pa.array(map(str, paths), pa.string())], schema=pa.schema([field]))


@pytest.mark.parametrize("exact", [False, True])
def test_files_count_by_their_bytes(tmp_path: Path, exact: bool) -> None:
    for name, content in (("a", b"one"), ("b", b"one"), ("c", b"two")):
        (tmp_path / name).write_bytes(content)
    a, b, c = row_digests(path_table(*(tmp_path / n for n in "abc")), ["image"], exact=exact)
    assert a == b != c
    stored = pa.table(
        {"image": [{"bytes": b"one", "path": "x"}, {"bytes": None, "path": str(tmp_path / "c")}]}
    )
    assert row_digests(stored, ["image"], exact=exact) == [a, c]
    (tmp_path / "a").write_bytes(b"1st")
    assert row_digests(path_table(tmp_path / "a"), ["image"], exact=exact) != [a]


def test_a_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"one")
    with pytest.raises(DataError, match=r"row 2, column 'image': its file cannot be read"):
        row_digests(path_table(tmp_path / "a", tmp_path / "b"), ["image"])


def test_missing_column_has_a_suggestion() -> None:
    with pytest.raises(DataError, match="Did you mean 'text'"):
        row_digests(pa.table({"text": ["a"]}), ["txt"])


def test_many_short_rows_are_quick() -> None:
    table = pa.table({"text": [f"Row number {i} and some short text" for i in range(100_000)]})
    started = time.process_time()
    row_digests(table, ["text"])
    assert time.process_time() - started < 3


def test_large_bytes_are_not_copied_into_text() -> None:
    content = io.BytesIO(bytes(5_000_000)).getvalue()
    (digest,) = row_digests(pa.table({"image": [{"bytes": content, "path": None}]}), ["image"])
    assert len(digest) == 32
