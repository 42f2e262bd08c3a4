"""Splits: stable, whole, and no content on two sides."""

import json
import os
import subprocess
import sys
from collections import Counter, defaultdict
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from matrixhub.data.splits import Splits, make_splits
from matrixhub.errors import ConfigError, DataError
from matrixhub.types import SPLIT_COLUMN

SPLITS = ("train", "validation", "test")


def table_of(num_rows: int, num_classes: int = 3, start: int = 0) -> pa.Table:
    rows = range(start, start + num_rows)
    return pa.table(
        {
            "text": [f"text {i}" for i in rows],
            "label": [f"class {i % num_classes}" for i in rows],
            "author": [f"author {i // 5}" for i in rows],
        }
    )


def sides(table: pa.Table, splits: Splits, column: str = "text") -> dict[Any, str]:
    """The split of each row, by the value of a column."""
    values = table.column(column).to_pylist()
    return {values[row]: name for name in SPLITS for row in getattr(splits, name).tolist()}


OPTIONS: list[dict[str, Any]] = [
    {},
    {"group": "author"},
    {"stratify": True, "target": "label"},
    {"stratify": True, "target": "label", "group": "author"},
]


@pytest.mark.parametrize("options", OPTIONS)
def test_every_row_once_near_the_fractions(options: dict[str, Any]) -> None:
    table = table_of(5000)
    splits = make_splits(table, inputs=["text"], fractions=(0.7, 0.1, 0.2), **options)
    parts = [splits.train, splits.validation, splits.test]
    assert sorted(np.concatenate(parts).tolist()) == list(range(5000))
    for part, share in zip(parts, (0.7, 0.1, 0.2), strict=True):
        assert part.dtype == np.int64
        assert (np.diff(part) > 0).all()
        assert abs(len(part) / 5000 - share) < 0.03
    assert splits.duplicates == 0


@pytest.mark.parametrize("options", OPTIONS)
def test_order_does_not_matter(options: dict[str, Any]) -> None:
    table = table_of(600)
    shuffled = table.take(np.random.default_rng(0).permutation(600))
    one, other = (make_splits(t, inputs=["text"], **options) for t in (table, shuffled))
    assert sides(table, one) == sides(shuffled, other)


@pytest.mark.parametrize("options", OPTIONS[:2])
def test_added_rows_move_no_other(options: dict[str, Any]) -> None:
    table, longer = table_of(600), pa.concat_tables([table_of(600, start=600), table_of(600)])
    before = sides(table, make_splits(table, inputs=["text"], **options))
    after = sides(longer, make_splits(longer, inputs=["text"], **options))
    assert {text: after[text] for text in before} == before


def test_added_rows_move_few_when_stratified() -> None:
    table, longer = table_of(600), table_of(606)
    one, other = (make_splits(t, inputs=["text"], target="label", stratify=True) for t in (table, longer))
    before, after = sides(table, one), sides(longer, other)
    assert sum(before[text] != after[text] for text in before) <= 12


CHILD = """
import json, sys
import pyarrow as pa
from matrixhub.data.splits import make_splits
table = pa.table(json.loads(sys.stdin.read()))
options = json.loads(sys.argv[1])
splits = make_splits(table, inputs=["text"], **options)
print(json.dumps([splits.train.tolist(), splits.validation.tolist(), splits.test.tolist()]))
"""


@pytest.mark.parametrize("options", OPTIONS)
def test_another_process_agrees(options: dict[str, Any]) -> None:
    table = table_of(300)
    found = []
    for hash_seed in ("1", "2"):
        done = subprocess.run(
            [sys.executable, "-c", CHILD, json.dumps(options)],
            input=json.dumps(table.to_pydict()),
            env={**os.environ, "PYTHONHASHSEED": hash_seed},
            capture_output=True,
            text=True,
            check=True,
        )
        found.append(json.loads(done.stdout))
    here = make_splits(table, inputs=["text"], **options)
    assert found == [[here.train.tolist(), here.validation.tolist(), here.test.tolist()]] * 2


def test_another_seed_is_another_split() -> None:
    table = table_of(300)
    one, other = (sides(table, make_splits(table, inputs=["text"], seed=seed)) for seed in (0, 1))
    assert one != other


@settings(deadline=None, max_examples=60)
@given(
    texts=st.lists(st.integers(0, 40), min_size=60, max_size=120),
    groups=st.lists(st.integers(0, 30), min_size=120, max_size=120),
    labels=st.lists(st.integers(0, 3), min_size=120, max_size=120),
    stratify=st.booleans(),
    grouped=st.booleans(),
    seed=st.integers(-5, 5),
)
def test_content_and_groups_never_cross(**drawn: Any) -> None:
    texts = [f" Text {i}" if row % 2 else f"text  {i}" for row, i in enumerate(drawn["texts"])]
    size = len(texts)
    table = pa.table({"text": texts, "group": drawn["groups"][:size], "label": drawn["labels"][:size]})
    options: dict[str, Any] = {"group": "group"} if drawn["grouped"] else {}
    try:
        splits = make_splits(
            table, inputs=["text"], target="label", stratify=drawn["stratify"], seed=drawn["seed"], **options
        )
    except DataError as error:
        assert "No row is left for" in str(error)
        return
    parts = [getattr(splits, name).tolist() for name in SPLITS]
    assert sorted(row for part in parts for row in part) == list(range(size))
    for values in (drawn["texts"], *([drawn["groups"]] if drawn["grouped"] else [])):
        found = [{values[row] for row in part} for part in parts]
        assert not found[0] & found[1]
        assert not found[0] & found[2]
        assert not found[1] & found[2]
    counts = Counter(drawn["texts"])
    assert splits.duplicates == sum(count for count in counts.values() if count > 1)


@settings(deadline=None, max_examples=60)
@given(
    sizes=st.lists(st.integers(1, 60), min_size=1, max_size=12),
    fractions=st.sampled_from([(0.8, 0.1, 0.1), (0.7, 0.1, 0.2), (0.5, 0.25, 0.25), (0.6, 0.0, 0.4)]),
)
def test_stratified_fractions_are_exact(sizes: list[int], fractions: tuple[float, float, float]) -> None:
    labels = [f"class {c}" for c, size in enumerate(sizes) for _ in range(size)]
    table = pa.table({"text": [f"text {i}" for i in range(len(labels))], "label": labels})
    try:
        splits = make_splits(table, inputs=["text"], target="label", stratify=True, fractions=fractions)
    except DataError:
        assert len(labels) < 12 or sum(size == 1 for size in sizes) > len(sizes) / 2
        return
    counts: dict[str, list[int]] = defaultdict(list)
    for name in SPLITS:
        found = Counter(labels[row] for row in getattr(splits, name))
        for c in set(labels):
            counts[c].append(found[c])
    for number, size in enumerate(sizes):
        train, validation, test = counts[f"class {number}"]
        assert train >= 1
        if size == 1:
            assert (train, validation, test) == (1, 0, 0)
        elif min(sizes) >= 5:
            assert abs(validation - size * fractions[1]) <= 1
            assert abs(test - size * fractions[2]) <= 1
    if min(sizes) >= 5:
        assert abs(len(splits.test) - len(labels) * fractions[2]) <= 0.5
        assert abs(len(splits.validation) - len(labels) * fractions[1]) <= 0.5


def with_splits(names: list[str | None], texts: list[str], column: str = SPLIT_COLUMN) -> pa.Table:
    return pa.table({"text": texts, column: names})


def test_given_splits_are_kept_by_any_of_their_names() -> None:
    names: list[str | None] = ["train", "Dev", "test", "training", "val", "train"]
    table = with_splits(names, list("abcdef"), column="part")
    splits = make_splits(table, inputs=["text"], column="part")
    assert [splits.train.tolist(), splits.validation.tolist(), splits.test.tolist()] == [
        [0, 3, 5],
        [1, 4],
        [2],
    ]
    assert splits.notes == ()


def test_duplicates_across_given_splits_stay_in_the_later_one() -> None:
    names: list[str | None] = ["train", "train", "train", "validation", "validation", "test", "test", "train"]
    texts = ["a", "B", "c", " b", "d", "A ", "D", "c"]
    splits = make_splits(with_splits(names, texts), inputs=["text"])
    assert splits.train.tolist() == [2, 7]
    assert splits.validation.tolist() == [3]
    assert splits.test.tolist() == [5, 6]
    assert splits.duplicates == 8
    assert any("2 rows of train and 1 rows of validation repeat" in note for note in splits.notes)


@pytest.mark.parametrize("missing", [["validation"], ["test"], ["validation", "test"]])
@pytest.mark.parametrize("stratify", [False, True])
def test_what_is_not_given_is_cut_from_train(missing: list[str], stratify: bool) -> None:
    kept = [name for name in SPLITS if name not in missing]
    names: list[str | None] = [name for name in kept for _ in range(300 if name == "train" else 30)]
    table = with_splits(names, [f"text {i}" for i in range(len(names))])
    table = table.append_column("label", pa.array([i % 2 for i in range(len(names))]))
    splits = make_splits(table, inputs=["text"], target="label", stratify=stratify)
    for name in SPLITS:
        rows = getattr(splits, name)
        if name in missing or name == "train":
            assert all(names[row] == "train" for row in rows)
            assert len(rows) > 15
        else:
            assert len(rows) == 30
    notes = [note for note in splits.notes if "was cut from train" in note]
    assert [note.split()[0].lower() for note in notes] == missing
    shuffled = table.take(np.random.default_rng(0).permutation(len(names)))
    again = make_splits(shuffled, inputs=["text"], target="label", stratify=stratify)
    assert sides(table, splits) == sides(shuffled, again)


def test_a_split_of_no_share_stays_empty() -> None:
    splits = make_splits(table_of(300), inputs=["text"], fractions=(0.8, 0, 0.2))
    assert len(splits.validation) == 0
    assert len(splits.train) + len(splits.test) == 300


def test_groups_that_share_content_are_joined() -> None:
    table = pa.table(
        {
            "text": [f"t{i}" for i in range(98)] + ["same", "SAME"],
            "author": [f"a{i // 2}" for i in range(98)] + ["a0", "a48"],
        }
    )
    splits = make_splits(table, inputs=["text"], group="author")
    place = sides(table, splits, "author")
    assert place["a0"] == place["a48"]
    assert any("Some groups hold the same content" in note for note in splits.notes)


@pytest.mark.parametrize("seed", range(8))
def test_joined_groups_stay_put_when_reordered(seed: int) -> None:
    rows = [{"text": f"t{i}", "author": f"a{i // 2}"} for i in range(100)]
    rows += [{"text": f"t{i}", "author": f"a{i // 2 + 25}"} for i in range(0, 50, 2)]
    table = pa.Table.from_pylist(rows)
    reverse = pa.Table.from_pylist(rows[::-1])
    one, other = (make_splits(t, inputs=["text"], group="author", seed=seed) for t in (table, reverse))
    assert sides(table, one) == sides(reverse, other)


def test_classes_of_one_row_are_in_train() -> None:
    labels = [f"rare {i}" for i in range(50)] + ["common"] * 200
    table = pa.table({"text": [f"text {i}" for i in range(250)], "label": labels})
    splits = make_splits(table, inputs=["text"], target="label", stratify=True)
    assert set(range(50)) <= set(splits.train.tolist())
    assert len(splits.test) == len(splits.validation) == 25


def test_rows_without_a_group_are_on_their_own() -> None:
    table = table_of(300).drop_columns("author").append_column("author", pa.array([None] * 150 + [""] * 150))
    splits = make_splits(table, inputs=["text"], group="author")
    assert sides(table, splits) == sides(table, make_splits(table, inputs=["text"]))


def test_bad_given_names() -> None:
    with pytest.raises(DataError, match="row 2, column '__split__': 'tset' where one of train"):
        make_splits(with_splits(["train", "tset"], ["a", "b"]), inputs=["text"])
    with pytest.raises(DataError, match="row 2, column 'part': no split where one of train"):
        make_splits(with_splits(["train", None], ["a", "b"], "part"), inputs=["text"], column="part")
    with pytest.raises(DataError, match="no row is in train"):
        make_splits(with_splits(["test", "val"], ["a", "b"]), inputs=["text"])


@pytest.mark.parametrize(
    "options",
    [
        {"inputs": ["txt"]},
        {"inputs": ["text"], "group": "autor"},
        {"inputs": ["text"], "column": "auhtor"},
        {"inputs": ["text"], "target": "lable", "stratify": True},
    ],
)
def test_missing_columns(options: dict[str, Any]) -> None:
    with pytest.raises(DataError, match=r"Unknown column .* Did you mean"):
        make_splits(table_of(30), **options)


def test_too_few_rows() -> None:
    with pytest.raises(
        DataError,
        match=r"validation: there are 2 different .* takes about 30\..*split\.fractions=\[.*stratify=true",
    ):
        make_splits(table_of(2), inputs=["text"])
    with pytest.raises(DataError, match=r"No row is left for train: every row .* repeats a row"):
        make_splits(with_splits(["train", "test", "val"], ["a", "A", "b"]), inputs=["text"])


def test_exact_shares_of_classes_of_one_row_are_told_for_what_they_are() -> None:
    table = pa.table({"text": [f"text {i}" for i in range(16)], "label": [f"answer {i}" for i in range(16)]})
    with pytest.raises(DataError, match=r"keeps one of each of their 16 classes in train.*stratify=false"):
        make_splits(table, inputs=["text"], target="label", stratify=True)


def test_only_splits_that_are_needed_must_have_rows() -> None:
    splits = make_splits(with_splits(["train", "test"], ["a", "b"]), inputs=["text"], needed=["test"])
    assert splits.test.tolist() == [1]
    with pytest.raises(DataError, match=r"No row is left for (train|validation)"):
        make_splits(with_splits(["train", "test"], ["a", "b"]), inputs=["text"])


@pytest.mark.parametrize("fractions", [(0.8, 0.1), (0.8, 0.1, 0.2), (1.2, -0.1, -0.1), (0, 0.5, 0.5)])
def test_bad_fractions(fractions: tuple[float, ...]) -> None:
    with pytest.raises(ConfigError, match=r"such as \[0\.8,0\.1,0\.1\]"):
        make_splits(table_of(30), inputs=["text"], fractions=fractions)


def test_stratify_needs_a_target() -> None:
    with pytest.raises(ConfigError, match="stratify=true needs a target"):
        make_splits(table_of(30), inputs=["text"], stratify=True)
