"""Folders of images: classes and splits by folder name."""

import os
from pathlib import Path

import pyarrow as pa
import pytest

from matrixhub.data.images import ImageFolderSource
from matrixhub.errors import ConfigError, DataError
from matrixhub.protocols import Source
from matrixhub.types import PATH_FIELD, SPLIT_COLUMN


def touch(root: Path, *names: str) -> None:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(os.fsencode(name))


def test_classes_and_order(tmp_path: Path) -> None:
    touch(
        tmp_path, "dog/2.JPG", "dog/1.png", "cat/deep/9.png", "cat/3.png", "cat/.hidden.png", "cat/notes.txt"
    )
    touch(tmp_path, ".cache/x.png", "README.md")
    source = ImageFolderSource(path=str(tmp_path))
    table = source.read()
    assert isinstance(source, Source)
    assert [os.path.relpath(p, tmp_path) for p in table.column("image").to_pylist()] == [
        "cat/3.png",
        "cat/deep/9.png",
        "dog/1.png",
        "dog/2.JPG",
    ]
    assert table.column("label").to_pylist() == ["cat", "cat", "dog", "dog"]
    assert table.schema.field("image").metadata == PATH_FIELD
    assert SPLIT_COLUMN not in table.column_names


@pytest.mark.parametrize("batch_size", [1, 2, 100])
def test_image_batches_equal_reading(tmp_path: Path, batch_size: int) -> None:
    touch(tmp_path, "a/1.png", "a/2.png", "b/3.png")
    source = ImageFolderSource(path=str(tmp_path))
    assert pa.concat_tables(source.batches(batch_size)).equals(source.read(), check_metadata=True)


def test_split_folders(tmp_path: Path) -> None:
    touch(tmp_path, "test/cat/1.png", "train/cat/2.png", "train/dog/3.png", "val/dog/4.png")
    table = ImageFolderSource(path=str(tmp_path)).read()
    assert table.column(SPLIT_COLUMN).to_pylist() == ["train", "train", "validation", "test"]
    assert table.column("label").to_pylist() == ["cat", "dog", "dog", "cat"]


def test_split_names_beside_others_are_classes(tmp_path: Path) -> None:
    touch(tmp_path, "train/1.png", "bus/2.png")
    table = ImageFolderSource(path=str(tmp_path)).read()
    assert table.column("label").to_pylist() == ["bus", "train"]
    assert SPLIT_COLUMN not in table.column_names


def test_options(tmp_path: Path) -> None:
    touch(tmp_path, "a/1.png", "a/2.ppm", "a/3.ppm", "b/4.PPM")
    source = ImageFolderSource(path=str(tmp_path), extensions=["ppm"], limit_per_class=1)
    assert [Path(p).name for p in source.read().column("image").to_pylist()] == ["2.ppm", "4.PPM"]


def test_fingerprint_changes_with_an_image(tmp_path: Path) -> None:
    touch(tmp_path, "a/1.png", "b/2.png")
    before = ImageFolderSource(path=str(tmp_path)).fingerprint()
    assert ImageFolderSource(path=str(tmp_path)).fingerprint() == before
    os.utime(tmp_path / "a/1.png", ns=(1, 1))
    changed = ImageFolderSource(path=str(tmp_path)).fingerprint()
    touch(tmp_path, "a/3.png")
    assert len({before, changed, ImageFolderSource(path=str(tmp_path)).fingerprint()}) == 3


def test_bad_folders(tmp_path: Path) -> None:
    (tmp_path / "photos").mkdir()
    with pytest.raises(DataError, match=r"There is no folder .*Did you mean '.*photos'"):
        ImageFolderSource(path=str(tmp_path / "photo"))
    with pytest.raises(DataError, match="has no sub-folders: put the images of each class in a folder"):
        ImageFolderSource(path=str(tmp_path / "photos")).read()
    touch(tmp_path / "photos", "a.png")
    with pytest.raises(DataError, match="has no sub-folders"):
        ImageFolderSource(path=str(tmp_path / "photos")).read()
    with pytest.raises(DataError, match="is a file"):
        ImageFolderSource(path=str(tmp_path / "photos" / "a.png"))
    with pytest.raises(ConfigError, match="limit_per_class is 0"):
        ImageFolderSource(path=str(tmp_path / "photos"), limit_per_class=0)


def test_a_class_without_images(tmp_path: Path) -> None:
    touch(tmp_path, "a/1.png", "b/notes.txt")
    with pytest.raises(DataError, match=r"/b has no images \(\.png"):
        ImageFolderSource(path=str(tmp_path)).read()


def test_a_file_name_that_is_not_text(tmp_path: Path) -> None:
    touch(tmp_path, "a/1.png", os.fsdecode(b"a/caf\xe9.png"))
    with pytest.raises(DataError, match="a file name that is not UTF-8"):
        ImageFolderSource(path=str(tmp_path)).read()


def test_one_split_under_two_names(tmp_path: Path) -> None:
    touch(tmp_path, "train/a/1.png", "val/a/1.png", "dev/a/1.png")
    with pytest.raises(DataError, match="one split under two names"):
        ImageFolderSource(path=str(tmp_path)).read()
