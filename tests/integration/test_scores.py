"""The packaged products on real data, as the README runs them: their scores, beside their baselines."""

from pathlib import Path
from typing import Any

import pytest

from matrixhub.plan.history import read_records
from tests.command import command

pytestmark = pytest.mark.slow

FLOORS = {"news": 0.965, "reviews": 0.735, "textile": 0.76, "digits": 0.94}
"""Accuracy on the test rows: frozen encoder, default settings, seed 0."""

SLACK = 0.01
"""Four rows of four hundred: what another processor's rounding may move."""


@pytest.fixture(scope="module")
def records(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, Any]]:
    """Records of the README's matrix by product, with the default head."""
    folder: Path = tmp_path_factory.mktemp("scores")
    done = command("run", "matrix=demo", cwd=folder, timeout=1200)
    assert done.returncode == 0, done.stderr
    assert "Leaderboard" in done.stdout
    assert "Next: matrixhub predict" in done.stdout
    (run,) = folder.glob("runs/*")
    assert (run / "report.html").is_file()
    records = read_records(run)
    assert len(records) == 10
    return {record["product"]: record for record in records if record["head"] == "linear"}


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
