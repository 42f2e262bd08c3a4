"""What cannot run is refused before any work, with every reason; the rest is planned."""

from collections.abc import Mapping, Sequence
from typing import Any

import pytest

from matrixhub.errors import ConfigError
from matrixhub.hookspecs import hookimpl
from matrixhub.plan import make_plan
from matrixhub.plan.text import told_apart
from tests.unit.plan.made_up import make_hub, make_job

HUB = make_hub()
BOTH = {m: {"column": m, "modality": m} for m in ("text", "image")}
TAGS = "token_classification"


class Objector:
    @hookimpl
    def matrixhub_check(self, cell: Mapping[str, Any]) -> Sequence[str]:
        return ["Mail is private."] if cell["product"]["name"] == "mail" else []


class Failing:
    @hookimpl
    def matrixhub_check(self, cell: Mapping[str, Any]) -> Sequence[str]:
        raise OSError("no disk")


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"encoder__text": {"name": "acme.pixels"}}, "'acme.pixels' reads image, not text"),
        (
            {"encoder__text": {"name": "acme.short"}, "product__outputs__topic__task": TAGS},
            "'acme.short' gives no tokens features",
        ),
        (
            {"head": {"name": "acme.line"}, "product__outputs__topic__task": TAGS},
            f"not {TAGS} (output 'topic')",
        ),
        ({"head": {"name": "acme.line"}, "product__outputs__topic__task": TAGS}, "reads pooled features"),
        ({"product__outputs__topic__task": "classfication"}, "Did you mean 'classification'"),
        ({"product__outputs__topic__task": TAGS, "product__inputs": BOTH}, "reads the tokens of one input"),
        ({"product__split__fractions": [0.5, 0.2, 0.2]}, "add up to 1"),
        ({"product__split__fractions": [1.0]}, "three shares"),
        ({"product__split__fractions": [1.2, -0.2, 0.0]}, "product.split.fractions="),
        ({"product__name": "a/b"}, "product.name='a/b'"),
        ({"trainer__epochs": 0}, "trainer.epochs=0: must be at least 1"),
        ({"trainer__batch_size": 0}, "trainer.batch_size=0"),
        ({"trainer__lr": 0.0}, "trainer.lr=0.0: must be above 0"),
        ({"trainer__lr": float("nan")}, "trainer.lr=nan"),
        ({"trainer__weight_decay": -1}, "trainer.weight_decay=-1"),
        ({"trainer__warmup": 1.0}, "trainer.warmup=1.0"),
        ({"trainer__patience": 0}, "trainer.patience=0"),
        ({"trainer__seed": -1}, "trainer.seed=-1"),
        ({"trainer__schedule": "cosin"}, "Did you mean 'cosine'"),
        ({"trainer__monitor": "accuracy"}, "allowed are loss, topic.METRIC"),
    ],
)
def test_reasons(change: dict[str, Any], reason: str) -> None:
    with pytest.raises(ConfigError) as raised:
        make_plan([make_job(**change)], HUB)
    assert reason in str(raised.value)
    plan = make_plan([make_job(), make_job(**change)], HUB)
    (refusal,) = plan.refused
    assert any(reason in text for text in refusal.reasons)
    assert refusal.overrides == make_job(**change).overrides
    assert len(plan.cells) == 1


def test_every_reason_is_told_at_once() -> None:
    bad = make_job(trainer__epochs=0, trainer__lr=-1, product__split__fractions=[1.0])
    (refusal,) = make_plan([make_job(), bad], HUB).refused
    assert len(refusal.reasons) == 3


def test_monitoring_a_metric_of_an_output_is_allowed() -> None:
    assert make_plan([make_job(trainer__monitor="topic.accuracy")], HUB).cells


def test_a_job_that_cannot_be_resolved_costs_no_other() -> None:
    plan = make_plan([make_job(head=None), make_job()], HUB)
    assert [refusal.name for refusal in plan.refused] == ["mail"]
    assert len(plan.cells) == 1


def test_when_nothing_can_run_each_reason_is_told_once() -> None:
    jobs = [make_job(trainer__epochs=0, trainer__seed=s) for s in (0, 1)]
    with pytest.raises(ConfigError) as raised:
        make_plan([*jobs, make_job(trainer__lr=-1)], HUB)
    assert str(raised.value).splitlines() == [
        "mail-words-deep: trainer.epochs=0: must be at least 1.",
        "mail-words-deep: trainer.lr=-1: must be above 0.",
    ]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"launch__num_processes": 0}, "must be at least 1"),
        ({"launch__mixed_precision": "fp8"}, "Allowed: bf16, fp16, no"),
    ],
)
def test_where_to_run_is_checked_too(change: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        make_plan([make_job(**change)], HUB)


def test_a_plugins_objection_refuses_a_cell_and_a_failing_one_is_skipped() -> None:
    hub = make_hub()
    hub.manager.register(Failing(), name="failing")
    hub.manager.register(Objector(), name="objector")
    plan = make_plan([make_job(), make_job(product__name="post")], hub)
    assert [refusal.reasons for refusal in plan.refused] == [("Mail is private.",)]
    assert [cell.name for cell in plan.cells.values()] == ["post-words-deep"]


def test_only_what_differs_between_equal_names_is_told() -> None:
    named = [("a", ["x=1", "y=1"]), ("a", ["x=1", "y=2"]), ("b", ["x=1"]), ("a", ["x=1"])]
    assert told_apart(named) == ["y=1", "y=2", "", ""]
    assert told_apart([]) == []
