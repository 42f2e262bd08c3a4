"""Columns as values: what processors get, and what is said when there is none."""

import numpy as np
import pyarrow as pa
import pytest

from matrixhub.data.columns import as_columns, is_marked, require_columns, values
from matrixhub.errors import DataError
from matrixhub.types import PATH_FIELD, SPLIT_COLUMN, UNTYPED_FIELD

TABLE = pa.table(
    {
        "text": ["a b", "c", "d e f"],
        "other": ["x", "y", "z"],
        "words": [["a", "b"], ["c"], []],
        "gaps": ["a", None, None],
        SPLIT_COLUMN: ["train", "train", "test"],
    }
)


def test_one_column_or_several() -> None:
    assert as_columns("text") == ["text"]
    assert as_columns(["text", "other"]) == ["text", "other"]
    assert as_columns(("age", "income", "city")) == ["age", "income", "city"]


def test_values_come_one_a_row_in_the_order_asked_for() -> None:
    assert values(TABLE, "text") == ["a b", "c", "d e f"]
    assert values(TABLE, "text", np.array([2, 0])) == ["d e f", "a b"]


def test_pairs_come_as_tuples() -> None:
    assert values(TABLE, ["text", "other"], np.array([1])) == [("c", "y")]


def test_several_columns_of_any_types_come_as_tuples() -> None:
    table = pa.table({"age": [41, 5], "income": [1.5, None], "city": ["Rome", None], "member": [True, False]})
    names = table.column_names
    assert values(table, names, np.array([0])) == [(41, 1.5, "Rome", True)]
    with pytest.raises(DataError, match=r"row 2, column 'income': the value is missing"):
        values(table, names)
    assert values(table, names, nulls=True) == [(41, 1.5, "Rome", True), (5, None, None, False)]
    assert values(table, "city", nulls=True) == ["Rome", None]


def test_words_are_texts_cut_at_white_space_or_lists_as_they_are() -> None:
    assert values(TABLE, "text", words=True) == [["a", "b"], ["c"], ["d", "e", "f"]]
    assert values(TABLE, "words", words=True) == [["a", "b"], ["c"], []]


def test_a_missing_value_is_named_by_its_row_in_the_table() -> None:
    with pytest.raises(DataError, match=r"row 2, column 'gaps': the value is missing"):
        values(TABLE, "gaps")
    with pytest.raises(DataError, match=r"row 3, column 'gaps'"):
        values(TABLE, "gaps", np.array([0, 2]))
    assert values(TABLE, "gaps", np.array([0])) == ["a"]


def test_a_missing_column_is_named_with_the_nearest_ones() -> None:
    with pytest.raises(DataError, match=r"'txet'.*Did you mean 'text'.*named as the input") as caught:
        require_columns(TABLE, ["text", "txet"], role="the input")
    assert SPLIT_COLUMN not in str(caught.value)


def test_the_split_column_is_no_column_of_the_users() -> None:
    with pytest.raises(DataError):
        require_columns(TABLE, [SPLIT_COLUMN], role="the input")


def test_marks_of_the_source_are_seen() -> None:
    schema = pa.schema([pa.field("p", pa.string(), metadata=PATH_FIELD), pa.field("q", pa.string())])
    table = pa.table({"p": ["x"], "q": ["y"]}, schema=schema)
    assert is_marked(table, "p", PATH_FIELD)
    assert not is_marked(table, "p", UNTYPED_FIELD)
    assert not is_marked(table, "q", PATH_FIELD)
