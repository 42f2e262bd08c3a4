"""The presets name files that are there, with the digests they have, and compose with every product."""

from pathlib import Path

import pytest
from matrixhub_demo import plugin

from matrixhub import create, plan, resolve_checkpoint

CONF = Path(plugin.__file__).parent / "conf"
PRESETS = sorted(CONF.glob("encoder/*/*.yaml"))
PRODUCTS = sorted(path.stem for path in CONF.glob("product/*.yaml") if path.stem != "emoji")
"""But emoji, whose rows pip does not install: see ``test_demo_emoji``."""


def named(path: Path) -> str:
    return path.stem


@pytest.mark.parametrize("path", PRESETS, ids=named)
def test_a_preset_names_a_packaged_file_with_its_digest(path: Path) -> None:
    modality = path.parent.name
    product = {"text": "news", "image": "textile"}[modality]
    (cell,) = plan([f"product={product}", f"encoder/{modality}={path.stem}"]).cells.values()
    options = cell.encoder[modality]
    assert len(options["sha256"]) == 64
    found = resolve_checkpoint(options["checkpoint"], sha256=options["sha256"])
    assert isinstance(found, Path) and found.exists()


@pytest.mark.parametrize("name", PRODUCTS)
def test_a_product_composes_with_a_packaged_encoder(name: str) -> None:
    made = plan([f"product={name}"])
    (cell,) = made.cells.values()
    modality = next(iter(cell.product["inputs"].values()))["modality"]
    assert cell.product["name"] == name
    assert cell.source["name"] == f"demo.{name}"
    assert cell.encoder[modality]["checkpoint"].startswith("package:")
    assert not made.refused


def test_there_is_a_product_for_every_source_and_a_preset_for_both_modalities() -> None:
    assert PRODUCTS == ["digits", "entities", "news", "reviews", "reviews_zh", "textile", "vqa"]
    assert {path.parent.name for path in PRESETS} == {"image", "text"}


def test_the_questions_name_every_answer_so_that_few_rows_will_do() -> None:
    (cell,) = plan(["product=vqa"]).cells.values()
    rows = create("source", "demo.vqa").read()
    assert cell.product["outputs"]["answer"]["classes"] == sorted(set(rows["answer"].to_pylist()))
