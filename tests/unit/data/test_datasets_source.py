"""Hugging Face datasets on disk, read as they are stored."""

import io
import sys
from pathlib import Path
from typing import Any

import pytest

from matrixhub.data.datasets import DatasetSource
from matrixhub.data.digests import row_digests
from matrixhub.errors import DataError, PluginError
from matrixhub.protocols import Source
from matrixhub.types import SPLIT_COLUMN

datasets = pytest.importorskip("datasets")
Image = pytest.importorskip("PIL.Image")


def png(shade: int) -> bytes:
    out = io.BytesIO()
    Image.new("RGB", (4, 4), (shade, shade, shade)).save(out, "png")
    return out.getvalue()


def make(labels: list[int]) -> Any:
    features = datasets.Features(
        image=datasets.Image(),
        label=datasets.ClassLabel(names=["cat", "dog"]),
        tags=datasets.Sequence(datasets.ClassLabel(names=["O", "B"])),
        text=datasets.Value("string"),
    )
    rows = [
        {
            "image": {"bytes": png(i), "path": None},
            "label": label,
            "tags": [0, 1][: i % 3],
            "text": f"text {i}",
        }
        for i, label in enumerate(labels)
    ]
    return datasets.Dataset.from_list(rows, features=features)


@pytest.fixture
def saved(tmp_path: Path) -> str:
    splits = {"train": make([0, 1, -1, 0]), "validation": make([1]), "test": make([1, 0])}
    datasets.DatasetDict(splits).save_to_disk(str(tmp_path / "saved"))
    return str(tmp_path / "saved")


def test_round_trip(saved: str) -> None:
    source = DatasetSource(path=saved)
    table = source.read()
    assert isinstance(source, Source)
    assert table.column("label").to_pylist() == ["cat", "dog", None, "cat", "dog", "dog", "cat"]
    assert table.column("tags").to_pylist()[:4] == [[], ["O"], ["O", "B"], []]
    assert table.column("image").to_pylist()[1]["bytes"] == png(1)
    assert table.column(SPLIT_COLUMN).to_pylist() == ["train"] * 4 + ["validation"] + ["test"] * 2
    digests = row_digests(table, ["image"], exact=True)
    assert digests[0] == digests[4] != digests[1]


def test_dataset_batches_equal_reading(saved: str) -> None:
    source = DatasetSource(path=saved, limit=3)
    batches = list(source.batches(2))
    assert [batch.num_rows for batch in batches] == [2, 2, 2]
    assert [row for batch in batches for row in batch.to_pylist()] == source.read().to_pylist()


def test_split_syntax(saved: str) -> None:
    part = DatasetSource(path=saved, split="train[:50%]+test").read()
    assert part.column("text").to_pylist() == ["text 0", "text 1", "text 0", "text 1"]
    assert SPLIT_COLUMN not in part.column_names
    mapped = DatasetSource(path=saved, split={"train": "validation", "test": "train[2:3]"}).read()
    assert mapped.column(SPLIT_COLUMN).to_pylist() == ["train", "test"]
    assert mapped.column("text").to_pylist() == ["text 0", "text 2"]
    with pytest.raises(DataError, match=r"names no rows of .*, which has train, validation, test"):
        DatasetSource(path=saved, split="trian").read()


def test_one_dataset_with_reordered_rows(tmp_path: Path) -> None:
    make([0, 1, 1]).select([2, 0]).save_to_disk(str(tmp_path / "one"))
    table = DatasetSource(path=str(tmp_path / "one")).read()
    assert table.column("text").to_pylist() == ["text 2", "text 0"]
    assert table.column("label").to_pylist() == ["dog", "cat"]
    assert SPLIT_COLUMN not in table.column_names


def test_strange_splits_are_asked_about(tmp_path: Path) -> None:
    datasets.DatasetDict({"train": make([0]), "unsupervised": make([-1])}).save_to_disk(str(tmp_path / "d"))
    with pytest.raises(DataError, match=r"neither train, validation nor test \(unsupervised\)"):
        DatasetSource(path=str(tmp_path / "d")).read()
    assert DatasetSource(path=str(tmp_path / "d"), split={"train": "train"}).read().num_rows == 1


def test_fingerprint_of_a_folder(saved: str) -> None:
    before = DatasetSource(path=saved).fingerprint()
    assert (
        DatasetSource(path=saved).fingerprint() == before != DatasetSource(path=saved, limit=1).fingerprint()
    )
    (arrow,) = (Path(saved) / "test").glob("*.arrow")
    arrow.write_bytes(arrow.read_bytes() + b"\0")
    assert DatasetSource(path=saved).fingerprint() != before


def test_folder_of_something_else(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="was not written by save_to_disk"):
        DatasetSource(path=str(tmp_path)).read()


def test_offline_is_said_plainly(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(datasets.config, "HF_HUB_OFFLINE", True)
    with pytest.raises(DataError, match=r"neither a folder here nor in the cache .* \(offline\)"):
        DatasetSource(path="nobody/nothing-of-this-name").read()


def test_a_script_is_never_run(tmp_path: Path) -> None:
    canary = tmp_path / "ran"
    (tmp_path / "loader.py").write_text(f"open({str(canary)!r}, 'w')\n")
    with pytest.raises(DataError):
        DatasetSource(path=str(tmp_path / "loader.py")).read()
    assert not canary.exists()


def test_missing_library(monkeypatch: pytest.MonkeyPatch, saved: str) -> None:
    monkeypatch.setitem(sys.modules, "datasets", None)
    with pytest.raises(PluginError, match=r"pip install 'matrixhub\[datasets\]'"):
        DatasetSource(path=saved).read()
