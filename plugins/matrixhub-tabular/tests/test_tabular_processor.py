"""How the cells of a row are read: amounts, categories, what is missing, what is refused."""

import datetime
import math
from decimal import Decimal
from typing import Any

import numpy as np
import pytest
from matrixhub_tabular.processor import (
    FIRST_BUCKET,
    LARGEST,
    MISSING_VALUE,
    NOTHING,
    NUMBER,
    ColumnsProcessor,
)

from matrixhub import ConfigError, DataError

PROCESSOR = ColumnsProcessor(columns=4, buckets=1000)


def read(*cells: Any, processor: ColumnsProcessor = PROCESSOR) -> tuple[list[float], list[int]]:
    ((numbers, kinds),) = processor.prepare([cells])
    return numbers.tolist(), kinds.tolist()


AMOUNTS: dict[str, tuple[Any, float]] = {
    "integer": (41, 41.0),
    "float": (-2.5, -2.5),
    "truth": (True, 1.0),
    "decimal": (Decimal("1.25"), 1.25),
    "text of a csv": (" 1.5e3 ", 1500.0),
    "signed text": ("-.5", -0.5),
    "numpy": (np.float32(0.5), 0.5),
    "numpy integer": (np.int64(7), 7.0),
    "huge integer": (10**400, LARGEST),
    "huge text": ("-1e400", -LARGEST),
    "infinity": (math.inf, LARGEST),
    "date": (datetime.date(1970, 1, 11), 10.0),
    "time": (datetime.datetime(1969, 12, 31, 12), -0.5),
    "time elsewhere": (
        datetime.datetime(1970, 1, 2, 6, tzinfo=datetime.timezone(datetime.timedelta(hours=6))),
        1.0,
    ),
    "span": (datetime.timedelta(hours=36), 1.5),
}


@pytest.mark.parametrize(("cell", "amount"), AMOUNTS.values(), ids=AMOUNTS)
def test_amounts(cell: Any, amount: float) -> None:
    numbers, kinds = read(cell)
    assert numbers == [np.float32(amount), 0, 0, 0]
    assert kinds == [NUMBER, NOTHING, NOTHING, NOTHING]


@pytest.mark.parametrize(
    "cell", [None, math.nan, "", "  ", np.float64("nan"), np.datetime64("NaT")], ids=repr
)
def test_missing(cell: Any) -> None:
    assert read(cell)[1][0] == MISSING_VALUE


@pytest.mark.parametrize("cell", ["Rome", "1_000", "nan", "inf", "1,5", "٣", "0x10", "\ud800"], ids=ascii)
def test_other_texts_are_categories(cell: str) -> None:
    assert read(cell)[1][0] >= FIRST_BUCKET


def test_a_category_is_the_same_wherever_it_is_read_and_another_in_another_column() -> None:
    _, (first, *_) = read("Rome")
    assert first == FIRST_BUCKET + 166, "artifacts depend on it"
    _, kinds = read(" Rome ", "Rome", "Paris")
    assert kinds[0] == first
    assert len({*kinds[:3]}) == 3


def test_numbers_that_are_names_may_be_said_to_be() -> None:
    processor = ColumnsProcessor(columns=2, buckets=1000, categories=frozenset([2]))
    _, kinds = read(12, 12, processor=processor)
    assert kinds[0] == NUMBER and kinds[1] >= FIRST_BUCKET
    same = [read(0, code, processor=processor)[1][1] for code in (12, 12.0, "12", "12.0", True, 13)]
    assert len({*same[:4]}) == 1 and len({*same}) == 3


def test_one_column_comes_without_a_tuple() -> None:
    one, other = PROCESSOR.prepare([3.5, (3.5,)])
    assert all((a == b).all() for a, b in zip(one, other, strict=True))


def test_what_is_refused_is_named() -> None:
    with pytest.raises(DataError, match=r"row 2: column 3 of the input holds a list, no number"):
        PROCESSOR.prepare([(1, 2, 3), (1, 2, [3])])
    with pytest.raises(
        DataError, match=r"5 columns, and the encoder has room for 4: add encoder\.tabular\.col"
    ):
        PROCESSOR.prepare([(1,) * 5])
    with pytest.raises(ConfigError, match=r"encoder\.tabular\.columns=0"):
        ColumnsProcessor(columns=0, buckets=1)
    with pytest.raises(ConfigError, match=r"categories=\[0, 3\]: columns are counted from 1 to 2"):
        ColumnsProcessor(columns=2, buckets=1, categories=frozenset([0, 1, 3]))
