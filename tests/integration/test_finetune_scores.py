"""Full fine-tuning on real rows: it beats the frozen encoder, and rows of like length cost no score."""

import json
from pathlib import Path

import pytest

from tests.command import command

pytestmark = pytest.mark.slow

ROWS = ("product=reviews", "product.source.limit=2000", "baseline=false")
TUNED = ("trainer=finetune", "trainer.epochs=2", "trainer.monitor=sentiment.accuracy")
SLACK = 0.03
"""Twelve of four hundred test rows: what another order of the training rows may move."""


def accuracies(folder: Path, *argv: str) -> list[float]:
    """On the test rows, of each cell of one command."""
    done = command("run", *argv, *ROWS, f"output_dir={folder}", timeout=1800)
    assert done.returncode == 0, done.stderr
    (path,) = folder.glob("*/records.jsonl")
    records = map(json.loads, path.read_text().splitlines())
    return [record["metrics"]["sentiment"]["accuracy"] for record in records]


def test_fine_tuning_beats_the_frozen_encoder(tmp_path: Path) -> None:
    (frozen,) = accuracies(tmp_path / "frozen")
    grouped, drawn = accuracies(tmp_path / "tuned", "-m", *TUNED, "trainer.group_by_length=true,false")
    assert grouped > frozen + SLACK
    assert grouped > drawn - SLACK
