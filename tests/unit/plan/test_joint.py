"""Products that train jointly: who is in a group, what that makes of its cells, and what is refused."""

from typing import Any

import pytest

from matrixhub.config.compose import Job
from matrixhub.errors import ConfigError
from matrixhub.plan import Plan, make_plan
from matrixhub.plan.build import cell_ids
from matrixhub.plan.history import FROM_RUN
from matrixhub.plan.picture import mermaid
from matrixhub.plan.text import plan_text
from tests.unit.plan.made_up import make_hub, make_job

HUB = make_hub()
PHOTO = {"photo": {"column": "photo", "modality": "image"}}
BOTH = {"body": {"column": "body", "modality": "text"}, **PHOTO}
PAIR = {name: {"column": name, "modality": "text"} for name in ("body", "reply")}


def job(name: str = "mail", joint: Any = "proportional", **changes: Any) -> Job:
    made = {"product__name": name, "trainer__joint": joint, "trainer__train_encoder": True, **changes}
    return make_job(**{"trainer__joint_temperature": 2.0, **made})


def plan_of(*jobs: Job) -> Plan:
    return make_plan(jobs, HUB)


def groups(plan: Plan) -> list[list[str]]:
    """Products of each group."""
    keys = dict.fromkeys(cell.joint for cell in plan.cells.values())
    return [sorted(c.product["name"] for c in plan.cells.values() if c.joint == key) for key in keys]


def reasons(plan: Plan) -> str:
    return "\n".join(reason for refusal in plan.refused for reason in refusal.reasons)


def test_products_of_one_encoder_head_and_trainer_form_a_group() -> None:
    heads = [{"name": "acme.line"}, {"name": "acme.deep"}]
    plan = plan_of(*(job(name, head=head) for name in ("mail", "chat") for head in heads))
    assert groups(plan) == [["chat", "mail"]] * 2
    assert len({cell.joint for cell in plan.cells.values()}) == 2


@pytest.mark.parametrize(
    "changes", [{"trainer__lr": 0.5}, {"encoder__text": {"name": "acme.short"}}], ids=str
)
def test_what_differs_in_more_than_the_product_does_not_join(changes: dict[str, Any]) -> None:
    plan = plan_of(*(job(n, **c) for n in ("mail", "chat") for c in ({}, changes)))
    assert groups(plan) == [["chat", "mail"]] * 2


def test_a_product_of_other_inputs_joins_where_it_shares_an_encoder() -> None:
    inputs = {"mail": None, "chat": PAIR, "ads": BOTH}
    plan = plan_of(*(job(n, **({"product__inputs": i} if i else {})) for n, i in inputs.items()))
    assert groups(plan) == [["ads", "chat", "mail"]]


def test_another_partner_is_another_cell_and_the_order_is_no_matter() -> None:
    alone = set(plan_of(job("mail", None)).cells)
    with_chat, back = plan_of(job("mail"), job("chat")), plan_of(job("chat"), job("mail"))
    with_ads = plan_of(job("mail"), job("ads"))
    assert set(with_chat.cells) == set(back.cells)
    assert not set(with_chat.cells) & (set(with_ads.cells) | alone)
    partner = plan_of(job("mail"), job("chat", product__split__seed=7))
    assert not set(partner.cells) & set(with_chat.cells)


def test_equal_jobs_are_one_cell_and_a_sweep_over_it_learns_its_value() -> None:
    jobs = [job("mail"), job("chat"), job("mail")]
    plan = plan_of(*jobs)
    assert (len(plan.cells), plan.merged) == (2, 1)
    first, second, third = cell_ids(jobs, HUB)
    assert first == third
    assert list(plan.cells) == [first, second]


def test_a_temperature_counts_only_where_it_is_used() -> None:
    hot = {"trainer__joint_temperature": 5.0}
    one, other = (plan_of(*(job(n, **c) for n in ("mail", "chat"))) for c in ({}, hot))
    assert set(one.cells) == set(other.cells)
    one, other = (plan_of(*(job(n, "temperature", **c) for n in ("mail", "chat"))) for c in ({}, hot))
    assert not set(one.cells) & set(other.cells)


def test_balance_is_kept_in_a_group_even_of_single_outputs() -> None:
    plan = plan_of(*(job(n, trainer__balance="uncertainty") for n in ("mail", "chat")))
    assert {cell.trainer["balance"] for cell in plan.cells.values()} == {"uncertainty"}


def test_a_group_is_done_when_all_of_it_is() -> None:
    jobs = [job("mail"), job("chat"), job("ads", None)]
    mail, chat, ads = plan_of(*jobs).cells
    done = {FROM_RUN: "earlier"}
    part = make_plan(jobs, HUB, earlier={mail: done, ads: done})
    assert list(part.done) == [ads]
    assert {stage.cell for stage in part.stages if stage.cell} == {mail, chat}
    assert make_plan(jobs, HUB, earlier=dict.fromkeys((mail, chat, ads), done)).stages == []


def test_a_plan_tells_who_trains_with_whom_and_survives_a_file() -> None:
    chat = job("chat", product__source__path="chat.csv")
    plan = plan_of(job("mail"), chat, job("ads", None, product__source__path="ads.csv"))
    text = plan_text(plan)
    assert "encoder and heads, jointly with chat" in text
    assert "encoder and heads, jointly with mail" in text
    assert text.count("jointly") == 2
    assert mermaid(plan).count("jointly") == 1
    assert "c0 -. jointly .- c1" in mermaid(plan)
    assert Plan.from_dict(plan.to_dict()) == plan
    old = plan.to_dict()
    for cell in old["cells"]:
        del cell["joint"]
    assert {cell.joint for cell in Plan.from_dict(old).cells.values()} == {None}


@pytest.mark.parametrize(
    ("jobs", "told"),
    [
        ([job("mail")], "'mail' has no other product to train with. Name some, as in -m product=mail,OTHER"),
        ([job(n, trainer__train_encoder=False) for n in ("mail", "chat")], "Take trainer=finetune or"),
        ([job(n, trainer__train_encoder=False, trainer__trainable_layers=1) for n in "ab"], "=partial"),
        ([job(n, "alternating") for n in ("mail", "chat")], "trainer.joint 'alternating'"),
        ([job(n, "temperature", trainer__joint_temperature=0.0) for n in ("mail", "chat")], "above 0"),
        ([job("mail"), job("chat"), job("mail", product__split__seed=3)], "2 cells of product 'mail' would"),
        ([job("mail"), job("pics", product__inputs=PHOTO)], "'pics' reads image, and no other product"),
    ],
)  # fmt: skip
def test_what_cannot_train_jointly_is_refused(jobs: list[Job], told: str) -> None:
    with pytest.raises(ConfigError) as error:
        plan_of(*jobs)
    assert told in str(error.value)


def test_a_generator_is_refused_and_its_partners_with_it() -> None:
    written = {"text": {"task": "generation", "target": "summary", "prompt": "{body}"}}
    plan = plan_of(job("mail"), job("notes", product__outputs=written), job("ads", None))
    assert [cell.product["name"] for cell in plan.cells.values()] == ["ads"]
    assert "a generator trains alone" in reasons(plan)
    assert "It is to train jointly with 'notes', which is refused." in reasons(plan)


def test_a_figure_that_one_product_lacks_is_refused_by_its_name() -> None:
    other = {"mood": {**job().config["product"]["outputs"]["topic"], "target": "mood"}}
    monitor = {"trainer__monitor": "topic.accuracy"}
    plan = plan_of(job("mail", **monitor), job("chat", product__outputs=other, **monitor), job("ads", None))
    named = {refusal.name: refusal.reasons for refusal in plan.refused}
    assert any("mood.METRIC" in reason for reason in named["chat-words-deep"])
    assert any("with 'chat'" in reason for reason in named["mail-words-deep"])
