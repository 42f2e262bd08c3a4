"""What finding is compared with."""

from collections.abc import Sequence
from typing import Any

import pytest
import torch
from scipy.sparse import csr_matrix
from torch import Tensor

from matrixhub.run import finding as room
from matrixhub.run.finding import finding

NUM_ROWS = 40
TARGETS = torch.arange(NUM_ROWS)[:, None].expand(-1, 2)
FIRST = [f"word{i}" for i in range(NUM_ROWS)]
SECOND = [f"word{i} and more" for i in range(NUM_ROWS)]


class Finder:
    """As far as baselines ask a head."""

    def metrics(self, outputs: Tensor, targets: Tensor) -> dict[str, float]:
        first, second = outputs.chunk(2, dim=-1)
        return {
            "first": float(((first @ second.T).argmax(dim=-1) == torch.arange(len(first))).double().mean())
        }


class Words:
    """An encoder with plain features: a column for each word."""

    baseline_name = "words + linear"

    def baseline_features(self, train: Sequence[Any], test: Sequence[Any]) -> tuple[Any, Any]:
        known = sorted({word for text in train for word in text.split()})
        return tuple(
            csr_matrix([[float(word in text.split()) for word in known] for text in texts])
            for texts in (train, test)
        )


def found(encoder: Any) -> dict[str, float]:
    alternatives = finding(Finder(), first=FIRST, second=SECOND, targets=TARGETS, encoder=encoder)  # type: ignore[arg-type]
    return {one.name: one.metrics["first"] for one in alternatives}


def test_chance_finds_one_of_all_rows() -> None:
    assert list(found(None)) == ["chance"]
    assert found(None)["chance"] == pytest.approx(1 / NUM_ROWS, abs=0.03)


def test_words_in_common_find_what_shares_one() -> None:
    assert found(Words())["words, untrained"] == 1


def test_too_many_rows_are_not_compared(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(room, "MOST_ROWS", NUM_ROWS - 1)
    assert list(found(Words())) == ["chance"]
