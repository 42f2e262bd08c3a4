"""Which rows belong together in retrieval."""

import pyarrow as pa
import pytest

from matrixhub import DataError
from matrixhub.data.pairs import number_pairs, require_different

TABLE = pa.table(
    {
        "query": ["red", "blue", "Red ", "green"],
        "document": ["a rose", "the sea", "a tomato", "the  sea"],
        "item": ["1", "2", "3", "1"],
        "hollow": ["1", None, "3", "1"],
    }
)
SIDES = [["query"], ["document"]]


def test_rows_that_share_an_input_share_its_number() -> None:
    assert number_pairs(TABLE, SIDES, None).T.tolist() == [[0, 1, 0, 2], [0, 1, 2, 1]]


def test_a_target_says_what_is_the_same_item() -> None:
    assert number_pairs(TABLE, SIDES, "item").T.tolist() == [[0, 1, 2, 0]] * 2


def test_a_missing_target_is_named() -> None:
    with pytest.raises(DataError, match="row 2"):
        number_pairs(TABLE, SIDES, "hollow")
    with pytest.raises(DataError, match="itme"):
        number_pairs(TABLE, SIDES, "itme")


def test_rows_that_all_belong_together_are_refused() -> None:
    require_different(number_pairs(TABLE, SIDES, None))
    same = pa.table({"query": ["red", "red"], "document": ["a rose", "the sea"]})
    with pytest.raises(DataError, match="nothing to find"):
        require_different(number_pairs(same, SIDES, None))
