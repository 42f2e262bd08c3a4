"""What feeds a model that trains its encoder: the cost of its rows."""

import numpy as np
import pytest
import torch

from matrixhub.errors import DataError
from matrixhub.plugins import hub
from matrixhub.run.feed import RowFeed


def feed_of(*columns: list[object]) -> RowFeed:
    encoder = (
        hub()
        .component("encoder", "fixture.hash_text")
        .factory()(dim=4, buckets=64, max_length=8, budget=64, seed=0)
    )
    names = ["a", "b"][: len(columns)]
    values = dict(zip(names, columns, strict=True))
    return RowFeed(values, dict.fromkeys(names, encoder), torch.device("cpu"))


def test_lengths_are_those_of_the_prepared_rows_asked_for() -> None:
    words: list[object] = ["word " * (i % 12) for i in range(200)]
    rows = np.arange(199, 9, -1)
    expected = [max(1, min(i % 12, 8)) for i in rows.tolist()]
    found = feed_of(words).lengths(rows)
    assert found is not None
    assert found.tolist() == expected
    both = feed_of(words, ["one two"] * 200).lengths(rows)
    assert both is not None
    assert both.tolist() == [length + 2 for length in expected]


def test_rows_of_one_size_have_no_lengths_and_the_rest_is_not_prepared() -> None:
    pictures: list[object] = ["two words"] * 100 + [3.5]
    assert feed_of(pictures).lengths(np.arange(101)) is None
    assert feed_of(pictures).lengths(np.arange(0)) is None


def test_a_row_that_cannot_be_prepared_is_named() -> None:
    words: list[object] = ["word " * (i % 5) for i in range(150)]
    words[133] = 3.5
    with pytest.raises(DataError, match="row 134: text is a string"):
        feed_of(words).lengths(np.arange(20, 150))
