"""Targets: every fault is found before training and named by row (reliability row 23)."""

from collections.abc import Sequence
from decimal import Decimal
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from matrixhub.data.targets import Encoded, check_lengths, encode_target, fit_target
from matrixhub.errors import ConfigError, DataError
from matrixhub.types import Target

FIRST_ROW = 40  # the values under test stand in the middle of some table


def column_of(values: Sequence[Any], dtype: Any = None) -> pa.ChunkedArray:
    return pa.chunked_array([pa.array(list(values), type=dtype)])


def fit(
    values: Sequence[Any],
    task: str = "classification",
    *,
    untyped: bool = False,
    classes: Sequence[Any] | None = None,
    dtype: Any = None,
) -> Target:
    return fit_target(
        column_of(values, dtype),
        task=task,
        name="label",
        rows=range(FIRST_ROW, FIRST_ROW + len(values)),
        untyped=untyped,
        classes=classes,
    )


def encode(values: Sequence[Any], target: Target, *, untyped: bool = False, dtype: Any = None) -> Encoded:
    rows = range(FIRST_ROW, FIRST_ROW + len(values))
    return encode_target(column_of(values, dtype), target, name="label", rows=rows, untyped=untyped)


def assert_says(error: DataError | ConfigError, *parts: str, index: int | None = None) -> None:
    """The message holds every part; a ``DataError`` also names column and row."""
    for part in parts:
        assert part in str(error)
    if index is not None:
        assert isinstance(error, DataError)
        assert (error.row, error.column) == (FIRST_ROW + index, "label")
        assert f"row {FIRST_ROW + index + 1}" in str(error)


# What is accepted


@pytest.mark.parametrize(
    ("values", "dtype", "classes", "typed"),
    [
        (["b", "a", "Z"], None, ("Z", "a", "b"), "text"),
        (["b", "a"], pa.large_string(), ("a", "b"), "text"),
        ([10, 9, -1], None, ("-1", "9", "10"), "integer"),
        ([10.0, 9.0], None, ("9", "10"), "integer"),
        ([True, False], None, ("false", "true"), "boolean"),
        (["b", "a", "b"], pa.dictionary(pa.int32(), pa.string()), ("a", "b"), "text"),
    ],
)
def test_classes_are_sorted_by_what_they_are(
    values: list[Any], dtype: Any, classes: tuple[str, ...], typed: str
) -> None:
    target = fit(values, dtype=dtype)
    assert (target.classes, target.typed) == (classes, typed)
    encoded = encode(values, target, dtype=dtype)
    assert isinstance(encoded, np.ndarray)
    assert encoded.dtype == np.int64


def test_csv_integers_are_sorted_as_integers() -> None:
    target = fit(["10", "9", "1"], untyped=True)
    assert (target.classes, target.typed) == (("1", "9", "10"), "untyped")


def test_csv_matches_integer_and_boolean_classes_by_text() -> None:
    assert list(encode(["2", "1"], fit([1, 2]), untyped=True)) == [1, 0]
    assert list(encode(["True", "false"], fit([True, False]), untyped=True)) == [1, 0]
    assert list(encode([2, 1], fit(["1", "2"], untyped=True))) == [1, 0]


def test_declared_classes_keep_their_order_and_may_be_unseen() -> None:
    target = fit(["low", "high"], classes=["low", "mid", "high"])
    assert target.classes == ("low", "mid", "high")
    assert list(encode(["high", "mid"], target)) == [2, 1]
    assert fit(["False", "True"], untyped=True, classes=[True, False]).classes == ("true", "false")


def test_multilabel_from_lists_and_from_text() -> None:
    lists = [["b", "a"], [], ["c"], ["a", "a"]]
    target = fit(lists, "multilabel")
    assert target.classes == ("a", "b", "c")
    expected = [[1, 1, 0], [0, 0, 0], [0, 0, 1], [1, 0, 0]]
    encoded = np.asarray(encode(lists, target))
    assert encoded.tolist() == expected
    assert encoded.dtype == np.float32
    texts = ["b| a", "", "c|", "a|a"]
    from_csv = fit(texts, "multilabel", untyped=True)
    assert from_csv.classes == target.classes
    assert np.asarray(encode([*texts, None], from_csv, untyped=True)).tolist() == [*expected, [0, 0, 0]]


def test_tags_have_o_first() -> None:
    rows = [["B-PER", "I-PER", "O"], [], ["O", "A"]]
    target = fit(rows, "token_classification")
    assert target.classes == ("O", "A", "B-PER", "I-PER")
    encoded = encode(rows, target)
    assert [row.tolist() for row in encoded] == [[2, 3, 0], [], [0, 1]]
    assert {row.dtype for row in encoded} == {np.dtype(np.int64)}
    texts = [" ".join(row) for row in rows]
    from_csv = fit(texts, "token_classification", untyped=True)
    assert [row.tolist() for row in encode(texts, from_csv, untyped=True)] == [[2, 3, 0], [], [0, 1]]


@pytest.mark.parametrize(
    ("values", "untyped"),
    [
        ([1, 2, 6], False),
        ([1.0, 2.0, 6.0], False),
        ([Decimal(1), Decimal(2), Decimal(6)], False),
        (["1", " 2.0 ", "6e0"], True),
    ],
)
def test_regression_targets(values: list[Any], untyped: bool) -> None:
    target = fit(values, "regression", untyped=untyped)
    assert (target.mean, target.std) == pytest.approx((3.0, np.std([1, 2, 6])))
    assert target.num_outputs == 1
    encoded = np.asarray(encode(values, target, untyped=untyped))
    assert encoded.tolist() == [1, 2, 6]
    assert encoded.dtype == np.float32


@given(st.lists(st.text(min_size=1).filter(str.strip), min_size=2).filter(lambda v: len(set(v)) > 1))
def test_text_labels_come_back(labels: list[str]) -> None:
    labels = [label.encode("utf-8", "replace").decode() for label in labels]
    if len(set(labels)) < 2:
        return
    target = fit(labels)
    assert [target.classes[i] for i in encode(labels, target)] == labels
    assert fit(labels[::-1]) == target
    assert Target.from_dict(target.to_dict()) == target


@given(st.lists(st.lists(st.integers(-(2**63), 2**63 - 1), max_size=5), min_size=1))
def test_integer_label_sets_come_back(rows: list[list[int]]) -> None:
    if len({frozenset(row) for row in rows}) < 2:
        return
    target = fit(rows, "multilabel", dtype=pa.list_(pa.int64()))
    hot = np.asarray(encode(rows, target, dtype=pa.list_(pa.int64())))
    assert [{int(target.classes[i]) for i in np.flatnonzero(row)} for row in hot] == [set(r) for r in rows]


@given(st.lists(st.floats(width=32, allow_nan=False, allow_infinity=False), min_size=2))
def test_numbers_come_back_and_the_spread_is_never_zero(numbers: list[float]) -> None:
    if len(set(numbers)) < 2:
        return
    target = fit(numbers, "regression")
    assert np.asarray(encode(numbers, target)).tolist() == numbers
    assert np.isfinite([target.mean, target.std]).all()
    assert target.std > 0


# What is refused: the type


def test_text_against_integer_classes() -> None:
    with pytest.raises(DataError) as caught:
        encode(["1", "2"], fit([1, 2]))
    assert_says(caught.value, "'1' is text", "integer: 1, 2", "Write 1 without quotes", index=0)


def test_declared_integers_against_a_text_column() -> None:
    with pytest.raises(DataError) as caught:
        fit(["1", "2"], classes=[1, 2])
    assert_says(caught.value, "'1' is text", "the classes are integer", index=0)


def test_integers_against_text_and_boolean_classes() -> None:
    for trained in (["1", "0"], [True, False]):
        with pytest.raises(DataError) as caught:
            encode([1, 0], fit(trained))
        assert_says(caught.value, "label 1 is integer", "Make the column", index=0)


@pytest.mark.parametrize(
    ("values", "task", "index", "says"),
    [
        ([1.0, 2.5], "classification", 1, "2.5 is not a label"),
        ([{"a": 1}, {"a": 2}], "classification", 0, "of type struct"),
        ([["a"], ["b"]], "classification", 0, "multilabel"),
        ([["a"], ["b"]], "regression", 0, "multilabel"),
        ([1, 2], "multilabel", 0, "not a list"),
        ([[1.5], []], "token_classification", 0, "1.5 is not a label"),
        (["1", "2"], "regression", 0, "without quotes"),
        ([True, False], "regression", 0, "not a number"),
    ],
)
def test_wrong_type(values: list[Any], task: str, index: int, says: str) -> None:
    with pytest.raises(DataError) as caught:
        fit(values, task)
    assert_says(caught.value, says, index=index)


@pytest.mark.parametrize("value", ["", "abc", "1_000", "nan", "-inf", "1e39"])
def test_csv_text_that_is_no_finite_number(value: str) -> None:
    with pytest.raises(DataError) as caught:
        fit(["1", "2", value], "regression", untyped=True)
    assert_says(caught.value, index=2)


@pytest.mark.parametrize("value", [None, float("nan"), float("inf"), 1e39])
def test_numbers_that_are_not_finite(value: float | None) -> None:
    with pytest.raises(DataError) as caught:
        fit([1.0, value], "regression")
    assert_says(caught.value, index=1)
    target = fit([1.0, 2.0], "regression")
    with pytest.raises(DataError) as caught:
        encode([3.0, 4.0, value], target)
    assert_says(caught.value, index=2)


# What is refused: the label


def test_unseen_label_names_row_value_nearest_and_allowed() -> None:
    target = fit(["sport", "politics"])
    with pytest.raises(DataError) as caught:
        encode(["sport", "politics", "sprot"], target)
    assert_says(caught.value, "'sprot'", "Did you mean 'sport'", "politics, sport", "training", index=2)


def test_unseen_label_among_many_stays_short() -> None:
    target = fit([f"class {i}" for i in range(500)])
    with pytest.raises(DataError) as caught:
        encode(["x" * 1_000_000], target)
    assert_says(caught.value, "xxx…", index=0)
    assert len(str(caught.value)) < 300


@pytest.mark.parametrize(
    ("train", "task", "bad"),
    [([["a"], ["b"]], "multilabel", ["a", "c"]), ([["O", "B"]], "token_classification", ["O", "c"])],
)
def test_unseen_label_in_a_list(train: list[list[str]], task: str, bad: list[str]) -> None:
    with pytest.raises(DataError) as caught:
        encode([train[0], bad], fit(train, task))
    assert_says(caught.value, "'c'", index=1)


def test_label_that_is_not_declared() -> None:
    with pytest.raises(DataError) as caught:
        fit(["yes", "no", "Yes"], classes=["yes", "no"])
    assert_says(caught.value, "'Yes'", "Did you mean 'yes'", "not declared", index=2)


@pytest.mark.parametrize(
    ("values", "task"),
    [
        (["a", "b", None], "classification"),
        (["a", "b", ""], "classification"),
        (["a", "b", "  "], "classification"),
        ([1.0, 2.0, float("nan")], "classification"),
        ([["a"], ["b"], None], "multilabel"),
        ([["a"], ["b"], ["a", None]], "multilabel"),
        ([["a"], ["b"], None], "token_classification"),
    ],
)
def test_missing_target(values: list[Any], task: str) -> None:
    with pytest.raises(DataError) as caught:
        fit(values, task)
    assert_says(caught.value, "missing", index=2)
    with pytest.raises(DataError) as caught:
        encode(values, fit(values[:2], task))
    assert_says(caught.value, "missing", index=2)


# What is refused: the whole


@pytest.mark.parametrize(
    ("values", "task", "says"),
    [
        (["a", "a"], "classification", "'a'; classification needs at least two"),
        ([["O"], ["O", "O"]], "token_classification", "at least two"),
        ([["a"], ["a"]], "multilabel", "same labels"),
        ([[], []], "multilabel", "none"),
        ([2.0, 2.0], "regression", "every training target is 2"),
        ([], "classification", "no training rows"),
        ([], "regression", "no training rows"),
    ],
)
def test_nothing_to_learn(values: list[Any], task: str, says: str) -> None:
    with pytest.raises(DataError) as caught:
        fit(values, task, dtype=pa.list_(pa.string()) if values == [[], []] else None)
    assert_says(caught.value, says, "column 'label'")


def test_a_single_class_of_two_declared_ones() -> None:
    with pytest.raises(DataError, match="at least two classes in the training rows"):
        fit(["a", "a"], classes=["a", "b"])


@pytest.mark.parametrize(
    ("classes", "task", "says"),
    [
        (["a", "b", "a"], "classification", "'a' declared twice"),
        ([1, "1"], "classification", "integer and text"),
        ([0.5, 1.5], "classification", "float"),
        (["a"], "classification", "at least 2"),
        ([], "multilabel", "at least 1"),
        (["a", "b"], "regression", "no classes"),
        (None, "clasification", "classification"),
    ],
)
def test_classes_and_task_that_cannot_be(classes: list[Any] | None, task: str, says: str) -> None:
    with pytest.raises(ConfigError) as caught:
        fit(["a", "b"], task, classes=classes)
    assert_says(caught.value, says)


def test_one_tag_for_each_word() -> None:
    words, tags = column_of([["a", "b"], ["c"]]), column_of([["O", "O"], ["O"]])
    check_lengths(words, tags, name="label", rows=[7, 9])
    check_lengths(column_of(["a b", "c"]), column_of(["O O", "O"]), name="label", rows=[7, 9])
    with pytest.raises(DataError, match="2 tags for 1 words") as caught:
        check_lengths(words, column_of([["O", "O"], ["O", "O"]]), name="label", rows=[7, 9])
    assert (caught.value.row, caught.value.column) == (9, "label")


def test_rows_must_fit_the_values() -> None:
    with pytest.raises(ValueError, match="2 values"):
        fit_target(column_of(["a", "b"]), task="classification", name="label", rows=[1], untyped=False)
