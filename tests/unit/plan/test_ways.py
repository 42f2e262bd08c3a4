"""What a plan makes of encoders that train: in part, by low-rank matrices, or whole."""

import importlib.util
from typing import Any

import pytest

from matrixhub.errors import ConfigError
from matrixhub.plan import Plan, make_plan
from matrixhub.plan.text import plan_text
from tests.unit.plan.made_up import make_hub, make_job

HUB = make_hub()
LORA = {"rank": 4, "alpha": 8.0, "dropout": 0.0, "targets": None}
WAYS: dict[str, dict[str, Any]] = {
    "frozen": {},
    "partial": {"trainer__trainable_layers": 2, "trainer__layers_budget_gb": 20.0},
    "lora": {"trainer__lora": LORA},
    "finetune": {"trainer__train_encoder": True},
}


def plan_of(*changes: dict[str, Any]) -> Plan:
    return make_plan([make_job(**one) for one in changes], HUB)


def encodes(plan: Plan) -> list[int]:
    """How many cells each encode stage serves."""
    return sorted(len(stage.cells) for stage in plan.stages if stage.kind == "encode")


@pytest.mark.parametrize("way", WAYS)
def test_a_cell_knows_its_way(way: str) -> None:
    (cell,) = plan_of(WAYS[way]).cells.values()
    assert cell.training == way


def test_cells_that_train_as_many_layers_share_their_hidden_states() -> None:
    partial = WAYS["partial"]
    plan = plan_of(partial, {**partial, "trainer__lr": 0.5}, {**partial, "trainer__seed": 3})
    assert encodes(plan) == [3]
    (stage,) = (stage for stage in plan.stages if stage.kind == "encode")
    assert stage.spec["level"] == "layers"
    assert stage.spec["trainable_layers"] == 2


@pytest.mark.parametrize(
    "other", [{}, {"trainer__trainable_layers": 1}, {"trainer__layers_budget_gb": 1.0}], ids=str
)
def test_cells_that_train_other_layers_share_none(other: dict[str, Any]) -> None:
    partial = WAYS["partial"]
    assert encodes(plan_of(partial, {**partial, **other} if other else {})) == [1, 1]


@pytest.mark.parametrize("way", ["lora", "finetune"])
def test_an_encoder_that_reads_rows_has_no_stage(way: str) -> None:
    assert encodes(plan_of(WAYS[way])) == []


@pytest.mark.parametrize(
    ("way", "unused"),
    [
        ("frozen", {"trainer__encoder_lr": 0.1}),
        ("frozen", {"trainer__layers_budget_gb": 3.0}),
        ("finetune", {"trainer__layers_budget_gb": 3.0}),
    ],
)
def test_what_a_way_leaves_unused_makes_no_new_cell(way: str, unused: dict[str, Any]) -> None:
    base = {"trainer__layers_budget_gb": 20.0, **WAYS[way]}
    assert plan_of(base, {**base, **unused}).merged == 1


@pytest.mark.parametrize("way", ["partial", "lora", "finetune"])
def test_the_learning_rate_of_an_encoder_that_trains_makes_one(way: str) -> None:
    assert plan_of(WAYS[way], {**WAYS[way], "trainer__encoder_lr": 0.1}).merged == 0


@pytest.mark.parametrize(
    ("way", "change", "told"),
    [
        ("partial", {}, "last 2 layers and heads on stored hidden states, recomputed if over 20 GB"),
        ("partial", {"trainer__trainable_layers": 1}, "trains last layer and heads"),
        ("partial", {"trainer__layers_budget_gb": 0.0}, "heads on recomputed hidden states"),
        ("lora", {}, "low-rank matrices"),
        ("finetune", {}, "encoder and heads"),
    ],
)
def test_the_page_says_what_trains(way: str, change: dict[str, Any], told: str) -> None:
    assert told in plan_text(plan_of({**WAYS[way], **change}))


@pytest.mark.parametrize(
    ("way", "change", "reason"),
    [
        ("partial", {"trainer__trainable_layers": 0}, "trainable_layers=0: must be at least 1"),
        ("partial", {"trainer__layers_budget_gb": -1.0}, "layers_budget_gb=-1.0: must be at least 0"),
        ("partial", {"trainer__train_encoder": True}, "trainer.train_encoder and trainer.trainable_layers"),
        ("partial", {"trainer__lora": LORA}, "trainer.trainable_layers and trainer.lora"),
        ("partial", {"encoder__text": {"name": "acme.short"}}, "'acme.short' cannot be cut"),
        ("partial", {"product__outputs__topic__task": "token_classification"}, "take trainer=finetune"),
        ("lora", {"trainer__lora": {**LORA, "rank": 0}}, "trainer.lora.rank=0"),
        ("lora", {"trainer__lora": {**LORA, "alpha": 0.0}}, "trainer.lora.alpha=0.0"),
        ("lora", {"trainer__lora": {**LORA, "dropout": 1.0}}, "trainer.lora.dropout=1.0"),
    ],
)
def test_what_cannot_train_is_refused(way: str, change: dict[str, Any], reason: str) -> None:
    with pytest.raises(ConfigError) as raised:
        plan_of({**WAYS[way], **change})
    assert reason in str(raised.value)


def test_without_peft_lora_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    find = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "peft" else find(name))
    with pytest.raises(ConfigError, match=r"pip install 'matrixhub\[lora\]'"):
        plan_of(WAYS["lora"])
