"""Images by images, images by texts and texts by texts, from the command line and from Python."""

import csv
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from matrixhub_retrieval.folder import load_index
from matrixhub_retrieval.index import SearchIndex
from PIL import Image

import matrixhub as mh
from matrixhub import DataError
from matrixhub.cli.main import main

SMALL = (
    "encoder/text=hash", "encoder/image=fixture.mean_image", "fusion.dim=32", "fusion.hidden=0",
    "fusion.dropout=0", "trainer.lr=0.03", "trainer.epochs=15", "trainer.batch_size=32",
)  # fmt: skip
NUM_PATCHES = 160
Told = Callable[..., tuple[int, str, str]]


def words(row: np.ndarray[Any, Any]) -> str:
    """What an image's four colours are called, coarsely."""
    return " ".join(f"{place}{level // 64}" for place, level in zip("abcd", row, strict=True))


@pytest.fixture(scope="module")
def drawn(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A table of images, of others that are like them but brighter, and of what they are called."""
    folder = tmp_path_factory.mktemp("drawn")
    levels = np.random.default_rng(0).integers(0, 200, (NUM_PATCHES, 4)).astype(np.uint8)
    for kind, more in (("photo", 0), ("print", 40)):
        (folder / kind).mkdir()
        for i, row in enumerate(levels):
            pixels = np.kron(row.reshape(2, 2) + np.uint8(more), np.ones((4, 4), np.uint8))
            Image.fromarray(pixels).save(folder / kind / f"{i:03}.png")
    with (folder / "rows.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["photo", "print", "name"])
        writer.writerows(
            [f"photo/{i:03}.png", f"print/{i:03}.png", words(row)] for i, row in enumerate(levels)
        )
    return folder


def trained(drawn: Path, *overrides: str) -> Path:
    """The artifact of a product over that table that finds well above chance."""
    places = (f"product.source.path={drawn}/rows.csv", f"output_dir={drawn}/runs", f"cache_dir={drawn}/cache")
    (record,) = mh.run([*overrides, *SMALL, *places], quiet=True).records
    assert record["status"] == "done", record["error"]
    found, chance = record["metrics"]["match"], record["baselines"]["match"]["chance"]
    assert found["mrr"] > 2 * chance["mrr"] and found["back_mrr"] > 2 * chance["back_mrr"]
    return Path(record["artifact"])


@pytest.fixture(scope="module")
def prints_by_photos(drawn: Path) -> Path:
    """An artifact: images by images."""
    columns = ("product.inputs.query.column=photo", "product.inputs.document.column=print")
    return trained(drawn, "product=image_pairs", *columns)


@pytest.fixture(scope="module")
def photos_by_names(drawn: Path) -> Path:
    """An artifact: images by texts."""
    columns = ("product.inputs.caption.column=name", "product.inputs.image.column=photo")
    return trained(drawn, "product=image_search", *columns)


@pytest.fixture
def told(capsys: pytest.CaptureFixture[str]) -> Told:
    """Runs a command: its exit code, what it printed, and what it said."""

    def call(*argv: Any) -> tuple[int, str, str]:
        code = main([str(one) for one in argv])
        out = capsys.readouterr()
        return code, out.out, out.err

    return call


def files(lines: str, column: str) -> list[str]:
    """Names of the files that were found, in their order."""
    return [Path(json.loads(line)[column]).name for line in lines.splitlines()]


def test_an_image_finds_the_image_that_goes_with_it(
    prints_by_photos: Path, drawn: Path, tmp_path: Path, told: Told
) -> None:
    index = tmp_path / "index"
    argv = ("index", prints_by_photos, drawn / "rows.csv", "--out", index, "--paths", "photo", "print")
    assert told(*argv)[0] == 0
    hits = 0
    for i in range(0, NUM_PATCHES, 8):
        code, out, err = told("search", index, drawn / "photo" / f"{i:03}.png", "-k", 5, "--json")
        assert code == 0, err
        hits += f"{i:03}.png" in files(out, "print")
    assert hits >= 15  # of 20; by chance, .6


def test_the_path_of_no_file_is_not_searched_as_words(
    photos_by_names: Path, drawn: Path, tmp_path: Path, told: Told
) -> None:
    index = tmp_path / "index"
    told("index", photos_by_names, drawn / "photo", "--out", index)
    code, out, err = told("search", index, "nothere.png")
    assert (code, out) == (2, "")
    assert "there is no file nothere.png" in err and "--by name" not in err and "--by caption" in err
    assert told("search", index, "nothere.png", "--by", "caption")[0] == 0


def test_a_folder_of_images_is_read_whatever_the_column_is_called(
    prints_by_photos: Path, drawn: Path, tmp_path: Path, told: Told
) -> None:
    index = tmp_path / "index"
    said = told("index", prints_by_photos, drawn / "print", "--out", index)[2]
    assert f"{NUM_PATCHES} rows added" in said
    again = told("index", prints_by_photos, drawn / "rows.csv", "--paths", "photo", "print", "--out", index)
    assert "(0 encoded)" in again[2]  # the same files by a table
    same = drawn / "print" / "007.png"
    out = told("search", index, same, "--by", "document", "-k", 1, "--json")[1]
    assert files(out, "print") == ["007.png"] and json.loads(out)["similarity"] == pytest.approx(1, abs=1e-5)


def test_images_are_found_by_texts_and_by_images(
    photos_by_names: Path, drawn: Path, tmp_path: Path, told: Told
) -> None:
    index, row = tmp_path / "index", 21
    told("index", photos_by_names, drawn / "photo", "--out", index)
    with (drawn / "rows.csv").open() as file:
        name = list(csv.DictReader(file))[row]["name"]
    assert f"{row:03}.png" in files(told("search", index, name, "-k", 10, "--json")[1], "photo")
    own = told("search", index, drawn / "photo" / f"{row:03}.png", "-k", 1, "--json")[1]
    assert files(own, "photo") == [f"{row:03}.png"]


def test_texts_are_found_by_images(photos_by_names: Path, drawn: Path, tmp_path: Path, told: Told) -> None:
    index = tmp_path / "names"
    assert told("index", photos_by_names, drawn / "rows.csv", "--input", "caption", "--out", index)[0] == 0
    with (drawn / "rows.csv").open() as file:
        names = [row["name"] for row in csv.DictReader(file)]
    hits = 0
    for i in range(0, NUM_PATCHES, 8):
        out = told("search", index, drawn / "photo" / f"{i:03}.png", "-k", 10, "--json")[1]
        hits += names[i] in [json.loads(line)["name"] for line in out.splitlines()]
    assert hits >= 10  # of 20; by chance, 1.3
    code, _, err = told("index", photos_by_names, drawn / "photo", "--input", "caption", "--out", index)
    assert code == 2 and f"{drawn / 'photo'}: there is no column 'name'" in err


def test_an_index_is_made_and_searched_in_python(photos_by_names: Path, drawn: Path, tmp_path: Path) -> None:
    product = mh.load(photos_by_names)
    index = SearchIndex(product)
    photos = [str(drawn / "photo" / f"{i:03}.png") for i in range(40)]
    index.add(pa.table({"photo": photos[:30]}))
    assert index.add(pa.table({"photo": photos})) == 10
    for one in (photos[3], Image.open(photos[3])):
        (found,) = index.search(one, by="image", k=1)
        assert found.row == {"photo": photos[3]} and found.similarity == pytest.approx(1, abs=1e-5)
    assert len(index.search("a0 b1 c2 d3", k=5)) == 5


def test_an_index_of_another_artifact_is_refused(
    prints_by_photos: Path, photos_by_names: Path, drawn: Path, tmp_path: Path, told: Told
) -> None:
    index = tmp_path / "index"
    told("index", photos_by_names, drawn / "photo", "--out", index)
    code, out, err = told("index", prints_by_photos, drawn / "print", "--out", index)
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert f"made by another product, the artifact {photos_by_names}" in err and "--out" in err
    with pytest.raises(DataError, match="made by another product"):
        load_index(index, mh.load(prints_by_photos))


def test_of_several_files_the_one_that_is_wrong_is_named_with_its_row(
    photos_by_names: Path, drawn: Path, tmp_path: Path, told: Told
) -> None:
    bad, other = tmp_path / "bad.csv", tmp_path / "other.csv"
    (tmp_path / "broken.png").write_bytes(b"no image")
    bad.write_text(f"photo\n{drawn}/photo/000.png\nbroken.png\n")
    other.write_text("picture\nbroken.png\n")
    index = ("index", photos_by_names, drawn / "photo")
    code, _, err = told(*index, bad, "--paths", "photo", "--out", tmp_path / "index")
    assert code == 2 and f"{bad}: row 2: not an image" in err, err
    code, _, err = told(*index, other, "--paths", "picture", "--out", tmp_path / "index")
    assert code == 2 and f"{other}: there is no column 'photo'" in err, err
    assert not (tmp_path / "index").exists()
