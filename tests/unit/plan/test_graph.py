"""A plan is a graph: equal work merged, nothing lost, every stage after what it needs."""

import itertools
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from matrixhub.config.compose import Job
from matrixhub.errors import ConfigError
from matrixhub.plan import Plan, make_plan
from matrixhub.plan.share import KINDS
from tests.unit.plan.made_up import make_hub, make_job

HUB = make_hub()
BOTH = {m: {"column": m, "modality": m} for m in ("text", "image")}
AXES: dict[str, list[Any]] = {
    "product__inputs": [
        {"body": {"column": "body", "modality": "text"}},
        {"body": {"column": "head", "modality": "text"}},
        {"photo": {"column": "photo", "modality": "image"}},
        BOTH,
    ],
    "product__split__seed": [0, 1],
    "encoder__text": [{"name": "acme.words"}, {"name": "acme.short"}],
    "encoder__image": [{"name": "acme.pixels"}, {"name": "acme.pixels", "dim": 9}],
    "head": [{"name": "acme.line"}, {"name": "acme.deep"}],
    "trainer__lr": [0.1, 0.2],
    "trainer__train_encoder": [False, True],
}
jobs = st.lists(
    st.fixed_dictionaries({axis: st.sampled_from(values) for axis, values in AXES.items()}).map(
        lambda changes: make_job(**changes)
    ),
    min_size=1,
    max_size=8,
)


def read_by(job: Job) -> set[str]:
    return {one["modality"] for one in job.config["product"]["inputs"].values()}


def essence(job: Job) -> str:
    """What a job is, narrowed to what its product uses; written independently of the code under test."""
    config = {**job.config, "encoder": {m: o for m, o in job.config["encoder"].items() if m in read_by(job)}}
    return json.dumps(config, sort_keys=True)


@given(jobs)
def test_equal_cells_merge_and_no_others(made: list[Job]) -> None:
    plan = make_plan(made, HUB)
    assert len(plan.cells) == len({essence(job) for job in made})
    assert len(plan.cells) + plan.merged == len(made)


@given(jobs, st.sampled_from([("encoder__image", "text"), ("encoder__text", "image")]))
def test_an_axis_that_a_product_does_not_use_makes_no_new_cell(
    made: list[Job], axis: tuple[str, str]
) -> None:
    unused, modality = axis
    plain = [job for job in made if read_by(job) == {modality}]
    both = [
        Job({**job.config, "encoder": {**job.config["encoder"], unused.partition("__")[2]: value}}, {}, ())
        for job in plain
        for value in AXES[unused]
    ]
    if plain:
        assert set(make_plan(both, HUB).cells) == set(make_plan(plain, HUB).cells)


@given(jobs)
def test_stages_are_in_an_order_in_which_they_can_run(made: list[Job]) -> None:
    done: set[str] = set()
    for stage in make_plan(made, HUB).stages:
        assert set(stage.needs) <= done
        assert stage.key not in done
        done.add(stage.key)


@given(jobs)
def test_every_cell_is_served_by_exactly_the_stages_it_needs(made: list[Job]) -> None:
    plan = make_plan(made, HUB)
    by_key = {stage.key: stage for stage in plan.stages}
    for cell in plan.cells.values():
        (train,) = (s for s in plan.stages if s.kind == "train" and s.spec == {"cell": cell.id})
        needed, ahead = {train.key}, [train]
        while ahead:
            for key in ahead.pop().needs:
                needed.add(key)
                ahead.append(by_key[key])
        assert {stage.key for stage in plan.stages if cell.id in stage.cells} == needed
        encodes = [by_key[key] for key in needed if by_key[key].kind == "encode"]
        frozen = not cell.trainer["train_encoder"]
        assert len(encodes) == (len(cell.product["inputs"]) if frozen else 0)
        assert {kind for key in needed for kind in [by_key[key].kind]} >= {"load", "split", "train"}
    assert set(itertools.chain.from_iterable(s.cells for s in plan.stages)) == set(plan.cells)


@given(jobs)
def test_work_on_equal_things_is_one_stage(made: list[Job]) -> None:
    plan = make_plan(made, HUB)
    for kind in KINDS[:3]:
        stages = [(json.dumps(s.spec, sort_keys=True), s.needs) for s in plan.stages if s.kind == kind]
        assert len(stages) == len(set(stages))
    assert len([s for s in plan.stages if s.kind == "load"]) == 1
    assert len([s for s in plan.stages if s.kind == "train"]) == len(plan.cells)


@given(jobs)
def test_a_plan_survives_json(made: list[Job]) -> None:
    plan = make_plan([*made, make_job(trainer__epochs=0)], HUB)
    again = Plan.from_dict(json.loads(json.dumps(plan.to_dict())))
    assert again == plan
    assert list(again.cells) == list(plan.cells)
    assert again.to_dict() == plan.to_dict()


@given(jobs, st.randoms())
def test_the_order_of_the_jobs_does_not_matter(made: list[Job], random: Any) -> None:
    shuffled = list(made)
    random.shuffle(shuffled)
    one, two = make_plan(made, HUB), make_plan(shuffled, HUB)
    assert set(one.cells) == set(two.cells)
    assert {s.key: set(s.cells) for s in one.stages} == {s.key: set(s.cells) for s in two.stages}


@given(jobs, st.integers(min_value=2, max_value=3))
def test_asking_twice_changes_nothing(made: list[Job], times: int) -> None:
    once, again = make_plan(made, HUB), make_plan(made * times, HUB)
    assert again.cells == once.cells
    assert again.stages == once.stages
    assert again.merged == once.merged + (times - 1) * len(made)


@given(jobs, jobs)
def test_a_plan_shares_all_that_its_parts_have_in_common(some: list[Job], others: list[Job]) -> None:
    one, two, both = (make_plan(made, HUB) for made in (some, others, some + others))
    apart = {stage.key: stage for stage in (*one.stages, *two.stages)}
    assert {stage.key for stage in both.stages} == apart.keys()
    joined = one.then(two)
    assert {s.key: set(s.cells) for s in joined.stages} == {s.key: set(s.cells) for s in both.stages}
    assert list(joined.cells) == list(both.cells)


@given(jobs, st.data())
def test_what_is_done_takes_its_own_stages_away_and_no_others(made: list[Job], data: st.DataObject) -> None:
    whole = make_plan(made, HUB)
    done = data.draw(st.sets(st.sampled_from(list(whole.cells))))
    plan = make_plan(made, HUB, earlier={cell: {"from_run": "before"} for cell in done})
    left = {s.key: set(s.cells) - done for s in whole.stages if set(s.cells) - done}
    assert {s.key: set(s.cells) for s in plan.stages} == left
    assert list(plan.cells) == list(whole.cells) and set(plan.done) == done


def test_two_heads_and_two_rates_on_one_encoder_encode_once() -> None:
    made = [make_job(head={"name": f"acme.{h}"}, trainer__lr=lr) for h in ("line", "deep") for lr in (1, 2)]
    plan = make_plan(made, HUB)
    assert [(s.kind, len(s.cells)) for s in plan.stages] == [
        ("load", 4), ("split", 4), ("encode", 4), *[("train", 1)] * 4,
    ]  # fmt: skip


def test_another_split_is_no_reason_to_encode_again() -> None:
    plan = make_plan([make_job(product__split__seed=s) for s in (0, 1)], HUB)
    assert [(s.kind, len(s.cells)) for s in plan.stages] == [
        ("load", 2), ("split", 1), ("split", 1), ("encode", 2), ("train", 1), ("train", 1),
    ]  # fmt: skip


def test_tokens_and_pooled_features_are_different_work() -> None:
    made = [make_job(product__outputs__topic__task=t) for t in ("classification", "token_classification")]
    levels = [s.spec["level"] for s in make_plan(made, HUB).stages if s.kind == "encode"]
    assert levels == ["pooled", "tokens"]


def test_an_input_of_many_columns_has_a_short_label() -> None:
    job = make_job(product__inputs__body__column=["age", "income", "city"])
    (encode,) = [s for s in make_plan([job], HUB).stages if s.kind == "encode"]
    assert encode.label == "words over acme.rows.age and 2 more"
    assert encode.spec["column"] == ["age", "income", "city"]


def test_one_launch_serves_the_whole_plan() -> None:
    assert make_plan([make_job()], HUB).launch["num_processes"] == 1
    with pytest.raises(ConfigError, match=r"launch\.\* cannot be swept"):
        make_plan([make_job(), make_job(trainer__lr=3, launch__num_processes=2)], HUB)
