"""A plan as people see it: the page, the picture, the cost."""

import dataclasses
import json
import re
from pathlib import Path
from typing import Any

import pytest

from matrixhub.plan import Plan, make_plan
from matrixhub.plan.cost import estimate, total
from matrixhub.plan.picture import mermaid
from matrixhub.plan.text import duration, plan_text
from tests.unit.plan.made_up import make_hub, make_job

HUB = make_hub()
RATES = [make_job(trainer__lr=lr) for lr in (0.1, 0.2, 0.1)]
POST = make_job(product__name="post", trainer__train_encoder=True)
BAD = make_job(trainer__epochs=0)


def test_the_page_tells_cells_stages_sharing_merging_and_refusals() -> None:
    plan = make_plan([*RATES, POST, BAD], HUB)
    first, second, third = (cell_id[:6] for cell_id in plan.cells)
    assert plan_text(plan).splitlines() == [
        "3 cells",
        f"  {first}  mail-words-deep: trains heads on stored features  (trainer.lr=0.1)",
        f"  {second}  mail-words-deep: trains heads on stored features  (trainer.lr=0.2)",
        f"  {third}  post-words-deep: trains encoder and heads",
        "",
        "6 stages, instead of 11 without sharing",
        "  load   acme.rows  (shared by 3 cells of mail, post)",
        "  split  acme.rows rows  (shared by 3 cells of mail, post)",
        "  encode words over acme.rows.body  (shared by 2 cells of mail)",
        "  train  mail-words-deep  (2 cells)",
        "  train  post-words-deep",
        "",
        "1 job equal to an earlier one, merged",
        "",
        "1 cell refused",
        "  mail-words-deep  trainer.epochs=0",
        "    trainer.epochs=0: must be at least 1.",
    ]


def test_the_page_tells_what_is_done_and_what_the_rest_costs() -> None:
    first, second = make_plan(RATES, HUB).cells
    plan = make_plan(RATES, HUB, earlier={first: {"from_run": "2026-01-31"}})
    costly = {stage.key: 2.5 for stage in plan.stages if stage.kind in ("encode", "train")}
    lines = plan_text(dataclasses.replace(plan, seconds=costly)).splitlines()
    assert lines[:3] == [
        "2 cells, 1 done already and skipped",
        f"  {first[:6]}  mail-words-deep: done in 2026-01-31  (trainer.lr=0.1)",
        f"  {second[:6]}  mail-words-deep: trains heads on stored features  (trainer.lr=0.2)",
    ]
    assert lines[4] == "4 stages; about 5.0 s by earlier runs, less what is stored"
    assert "  train  mail-words-deep  (about 2.5 s)" in lines
    everything = {cell: {"from_run": "2026-01-31"} for cell in (first, second)}
    assert "nothing to do; --force" in plan_text(make_plan(RATES, HUB, earlier=everything))


@pytest.mark.parametrize(
    ("seconds", "said"), [(0.04, "0.0 s"), (59.9, "59.9 s"), (150, "2 min"), (7500, "2 h 5 min")]
)
def test_seconds_are_told_as_people_do(seconds: float, said: str) -> None:
    assert duration(seconds) == said


def test_the_picture_has_every_stage_once_and_an_edge_for_each_need() -> None:
    heads = [{"name": f"acme.{name}"} for name in ("line", "deep")]
    made = [make_job(head=head, trainer__lr=lr) for head in heads for lr in (1, 2)]
    lines = mermaid(make_plan([*made, POST, BAD], HUB)).splitlines()
    assert lines[0] == "flowchart LR"
    nodes = [line for line in lines if re.match(r"  \w+[(\[]", line)]
    assert [node.strip() for node in nodes] == [
        's0[("load acme.rows<br/>shared by 5 cells")]:::shared',
        's1["split acme.rows rows<br/>shared by 5 cells"]:::shared',
        's2[["encode words over acme.rows.body<br/>shared by 4 cells"]]:::shared',
        'c0(["mail on words: 2 × line, 2 × deep"])',
        'c1(["post on words: deep"])',
    ]
    edges = [line.strip() for line in lines if "-->" in line]
    assert sorted(edges) == ["s0 --> s1", "s0 --> s2", "s1 --> c0", "s1 --> c1", "s2 --> c0"]
    assert '    refused0["mail-words-deep: trainer.epochs=0: must be at least 1."]:::refused' in lines


def test_the_picture_shows_what_is_done_and_escapes_what_was_typed() -> None:
    odd = make_job(product__inputs={"body": {"column": 'a"<b>', "modality": "text"}})
    done = next(iter(make_plan([POST], HUB).cells))
    drawn = mermaid(make_plan([odd, POST], HUB, earlier={done: {"from_run": "yesterday"}}))
    assert "encode words over acme.rows.a#quot;#lt;b#gt;" in drawn
    assert '    done0["post-words-deep"]:::done' in drawn


def finished(folder: Path, plan: Plan, **facts: Any) -> None:
    """A run of that plan which left these facts in each of its records."""
    folder.mkdir(parents=True)
    (folder / "plan.json").write_text(json.dumps(plan.to_dict()))
    records = [{"cell": cell, "status": "done", **facts} for cell in plan.cells]
    (folder / "records.jsonl").write_text("".join(f"{json.dumps(record)}\n" for record in records))


def test_like_work_is_estimated_by_its_median_and_other_work_is_not(tmp_path: Path) -> None:
    before = dataclasses.replace(make_plan([RATES[0]], HUB), output_dir=str(tmp_path))
    (encode,) = (stage.key for stage in before.stages if stage.kind == "encode")
    for name, seconds in (("1", 2.0), ("2", 4.0), ("3", 9.0)):
        facts = {"train_seconds": seconds, "encode": {encode: {"seconds": 10 * seconds, "rows": 5}}}
        finished(tmp_path / name, before, **facts)
    (tmp_path / "4").mkdir()
    (tmp_path / "4" / "plan.json").write_text('{"cells": [')
    like = dataclasses.replace(make_plan([RATES[1]], HUB), output_dir=str(tmp_path))
    found = estimate(like)
    assert {s.kind: found[s.key] for s in like.stages if s.key in found} == {"encode": 40.0, "train": 4.0}
    assert total(dataclasses.replace(like, seconds=found)) == 44.0
    other = make_job(product__inputs={"head": {"column": "head", "modality": "text"}})
    both = dataclasses.replace(make_plan([RATES[1], other], HUB), output_dir=str(tmp_path))
    assert estimate(both).keys() == {s.key for s in like.stages if s.key in found}
    assert total(dataclasses.replace(both, seconds=estimate(both))) is None


def test_records_that_do_not_tell_give_no_estimate(tmp_path: Path) -> None:
    plan = dataclasses.replace(make_plan(RATES, HUB), output_dir=str(tmp_path))
    assert estimate(plan) == {}
    finished(tmp_path / "1", plan)
    finished(tmp_path / "2", plan, train_seconds=1.0, from_run="0")
    assert estimate(plan) == {}
