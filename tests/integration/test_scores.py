"""The packaged products on real data, as the README runs them: their scores, beside their baselines."""

import json
from pathlib import Path
from typing import Any

import pytest

from tests.command import command

pytestmark = pytest.mark.slow

FLOORS = {"news": 0.965, "reviews": 0.735, "textile": 0.76, "digits": 0.94}
"""Accuracy on the test rows: frozen encoder, default settings, seed 0."""

SLACK = 0.01
"""Four rows of four hundred: what another processor's rounding may move."""


@pytest.fixture(scope="module")
def records(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, Any]]:
    """Records by product, of the README's matrix and of the two other packaged products."""
    folder: Path = tmp_path_factory.mktemp("scores")
    for argv in (["matrix=demo"], ["-m", "product=digits,entities"]):
        done = command("run", *argv, cwd=folder, timeout=1200)
        assert done.returncode == 0, done.stderr
        assert "Leaderboard" in done.stdout
        assert "Next: matrixhub predict" in done.stdout
    lines = [line for path in folder.glob("runs/*/records.jsonl") for line in path.read_text().splitlines()]
    return {record["product"]: record for record in map(json.loads, lines)}


@pytest.mark.parametrize("product", FLOORS)
def test_packaged_products_reach_their_scores(records: dict[str, dict[str, Any]], product: str) -> None:
    (metrics,) = records[product]["metrics"].values()
    assert metrics["accuracy"] >= FLOORS[product] - SLACK


def test_raw_pixels_are_shown_beside_digits(records: dict[str, dict[str, Any]]) -> None:
    (baselines,) = records["digits"]["baselines"].values()
    assert baselines["raw pixels + linear"]["accuracy"] > 0.9


def test_entities_beat_the_majority_tag_and_the_lookup(records: dict[str, dict[str, Any]]) -> None:
    (metrics,) = records["entities"]["metrics"].values()
    (baselines,) = records["entities"]["baselines"].values()
    assert len(baselines) == 2
    assert all(metrics["entity_f1"] > baseline["entity_f1"] for baseline in baselines.values())
