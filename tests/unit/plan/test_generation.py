"""Cells whose answers a generator writes, in a plan with others."""

from typing import Any

import pytest

from matrixhub.config.compose import Job
from matrixhub.errors import ConfigError
from matrixhub.plan import make_plan
from matrixhub.plan.cell import Cell
from matrixhub.plan.picture import mermaid
from tests.unit.plan.made_up import make_hub, make_job

REPLY = {"reply": {"task": "generation", "target": "reply", "prompt": None}}


def writing(pen: int, **changes: Any) -> Job:
    generator = {"name": "acme.pen", "dim": pen}
    return make_job(product__outputs=REPLY, generator=generator, **changes)


def test_a_cell_has_a_generator_and_nothing_that_it_leaves_unused() -> None:
    plan = make_plan([writing(1, head={"name": "acme.line"}), writing(1, trainer__lr=0.5)], make_hub())
    (cell,) = plan.cells.values()
    assert plan.merged == 1
    assert (cell.encoder, cell.fusion, cell.head, cell.trainer) == ({}, None, None, {})
    assert cell.generator == {"name": "acme.pen", "dim": 1, "layers": [1, 2]}
    assert [kind for kind, _ in cell.component_options()] == ["source", "generator"]
    assert Cell.from_dict(cell.to_dict()) == cell
    assert [stage.kind for stage in plan.stages] == ["load", "split", "generate"]


def test_cells_of_one_generator_follow_each_other() -> None:
    jobs = [writing(pen, generate__seed=seed) for seed in (0, 1) for pen in (1, 2)]
    plan = make_plan([*jobs, make_job()], make_hub())
    written = [stage for stage in plan.stages if stage.kind == "generate"]
    assert [stage.spec["generator"]["dim"] for stage in written] == [1, 1, 2, 2]
    assert [plan.cells[stage.spec["cell"]].generator for stage in written] == [
        stage.spec["generator"] for stage in written
    ]
    assert plan.stages[-5].kind == "train"


def test_the_picture_shows_it_without_a_head() -> None:
    page = mermaid(make_plan([writing(1), writing(1, generate__seed=1), make_job()], make_hub()))
    assert "mail on acme.pen: 2 ×" in page


def test_a_metric_that_there_is_not_is_refused_with_the_nearest() -> None:
    scored = {"reply": {**REPLY["reply"], "metrics": ["rougeL", "blue"]}}
    job = make_job(product__outputs=scored, generator={"name": "acme.pen", "dim": 1})
    with pytest.raises(ConfigError, match=r"metric of output 'reply': 'blue'\. Did you mean 'bleu'"):
        make_plan([job], make_hub())
