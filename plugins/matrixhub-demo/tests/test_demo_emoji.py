"""Drawings out of two packages of npm: read as they are installed, and a clear word where they are not."""

import json
from pathlib import Path

import pytest

from matrixhub import PATH_FIELD, DataError, Source, create, plan

GRIN, DIGIT = "1F600", "0031-FE0F-20E3"


@pytest.fixture
def modules(tmp_path: Path) -> Path:
    """A folder as npm install leaves it, with two characters in it."""
    drawings, names = tmp_path / "emoji-datasource-google", tmp_path / "emojibase-data"
    for folder, version in ((drawings, "16.0.0"), (names, "17.0.0")):
        folder.mkdir()
        (folder / "package.json").write_text(json.dumps({"version": version}))
    listed = [
        {"unified": GRIN, "image": "1f600.png", "category": "Smileys & Emotion"},
        {"unified": DIGIT, "image": "0031-fe0f-20e3.png", "category": "Symbols"},
    ]
    (drawings / "emoji.json").write_text(json.dumps(listed))
    said = {"en": ("grinning face", "keycap: 1"), "zh": ("嘿嘿", "按键: 1")}
    for language, (grin, digit) in said.items():
        characters = [
            {"hexcode": "0031-20E3", "label": digit},
            {"hexcode": GRIN, "label": grin, "tags": ["face", "grin"]},
        ]
        (names / language).mkdir()
        (names / language / "data.json").write_text(json.dumps(characters), "utf-8")
    return tmp_path


def emoji(path: Path, limit: int | None = None) -> Source:
    made: Source = create("source", "demo.emoji", path=str(path), limit=limit)
    return made


def test_a_drawing_comes_with_what_it_is_called_in_two_languages(modules: Path) -> None:
    table = emoji(modules).read()
    assert table.schema.field("image").metadata == PATH_FIELD
    grin, digit = table.to_pylist()
    assert Path(grin.pop("image")) == modules / "emoji-datasource-google/img/google/64/1f600.png"
    assert grin == {
        "label": "grinning face",
        "label_zh": "嘿嘿",
        "tags": "face, grin",
        "tags_zh": "face, grin",
        "group": "Smileys & Emotion",
    }
    assert (digit["label"], digit["label_zh"], digit["tags"]) == ("keycap: 1", "按键: 1", "")


def test_paths_are_absolute(modules: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(modules.parent)
    table = emoji(Path(modules.name)).read()
    assert all(Path(image).is_absolute() for image in table["image"].to_pylist())


def test_another_version_of_a_package_makes_another_fingerprint(modules: Path) -> None:
    before = emoji(modules).fingerprint()
    assert before == emoji(modules).fingerprint() != emoji(modules, limit=1).fingerprint()
    (modules / "emojibase-data" / "package.json").write_text('{"version": "17.0.1"}')
    assert emoji(modules).fingerprint() != before


def test_packages_that_are_not_there_are_named_with_the_line_to_type(tmp_path: Path) -> None:
    line = "npm install emoji-datasource-google@16.0.0 emojibase-data@17.0.0"
    for ask in (emoji(tmp_path).read, emoji(tmp_path).fingerprint):
        with pytest.raises(DataError, match=f"emoji-datasource-google is not one.*{line}"):
            ask()
    with pytest.raises(DataError, match=line):
        plan(["product=image", "product/source=demo.emoji", f"product.source.path={tmp_path}"])


def test_a_package_that_lost_its_files_is_to_be_installed_again(modules: Path) -> None:
    (modules / "emoji-datasource-google" / "emoji.json").unlink()
    with pytest.raises(DataError, match="npm install --force"):
        emoji(modules).read()


def test_the_product_finds_drawings_by_their_labels(modules: Path) -> None:
    made = plan(["product=emoji", f"product.source.path={modules}"])
    (cell,) = made.cells.values()
    assert (cell.fusion or {})["name"] == "retrieval.towers"
    assert (cell.head or {})["name"] == "retrieval.contrastive"
    assert [one["modality"] for one in cell.product["inputs"].values()] == ["text", "image"]
