"""A cell is named by what it is made of, and by nothing else."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import matrixhub as mh
from matrixhub.errors import ConfigError
from matrixhub.plan import make_plan
from matrixhub.plan.cell import Cell, digest, resolve
from tests.command import python
from tests.unit.plan.made_up import CONFIG, make_hub, make_job

HUB = make_hub()

SHOWN = """
import json, sys
import matrixhub as mh
print(json.dumps(list(mh.plan(sys.argv[1:], multirun=True).cells)))
"""


def cell_of(**changes: Any) -> Cell:
    return resolve(make_job(**changes), HUB)


@pytest.mark.parametrize("hash_seed", ["0", "1"])
def test_ids_are_the_same_in_another_process(hash_seed: str) -> None:
    overrides = ["product=toy,digits", "head=linear,mlp", "trainer.lr=1e-3,1e-2"]
    here = list(mh.plan(overrides, multirun=True).cells)
    assert len(here) == 8
    assert python(SHOWN, *overrides, PYTHONHASHSEED=hash_seed) == here


def shuffled(value: Any, draw: Callable[[Any], Any]) -> Any:
    """The same mapping, keys in another order, at every depth."""
    if not isinstance(value, dict):
        return value
    keys = draw(st.permutations(list(value)))
    return {key: shuffled(value[key], draw) for key in keys}


@given(st.data())
def test_ids_do_not_depend_on_the_order_of_keys(data: st.DataObject) -> None:
    config = shuffled(CONFIG, data.draw)
    job = make_job()
    again = type(job)(config, job.choices, job.overrides)
    assert resolve(again, HUB).id == resolve(job, HUB).id


@pytest.mark.parametrize(
    "change",
    [
        {"product__name": "post"},
        {"product__source__path": "other.csv"},
        {"product__inputs__body__column": "subject"},
        {"product__outputs__topic__target": "folder"},
        {"product__split__seed": 1},
        {"encoder__text": {"name": "acme.short"}},
        {"encoder__text": {"name": "acme.words", "dim": 9}},
        {"head": {"name": "acme.line"}},
        {"trainer__lr": 0.5},
        {"trainer__train_encoder": True},
        {"baseline": False},
    ],
)
def test_whatever_a_cell_is_made_of_changes_its_id(change: dict[str, Any]) -> None:
    assert cell_of(**change).id != cell_of().id


@pytest.mark.parametrize(
    "change",
    [
        {"encoder__image": {"name": "acme.pixels", "dim": 99}},
        {"encoder__image": None},
        {"fusion": None},
        {"trainer__encoder_lr": 0.1},
        {"launch__num_processes": 4},
        {"output_dir": "elsewhere"},
        {"cache_dir": "/cache"},
    ],
    ids=str,
)
def test_what_a_cell_does_not_use_does_not_change_its_id(change: dict[str, Any]) -> None:
    assert cell_of(**change).id == cell_of().id


def test_a_new_version_of_a_plugin_makes_new_cells() -> None:
    newer = make_hub(version="2.2")
    assert resolve(make_job(), newer).id != resolve(make_job(), HUB).id
    assert resolve(make_job(), newer).distributions == {"acme-hub": "2.2"}


def test_an_alias_and_a_default_written_out_are_the_same_cell() -> None:
    written = {"name": "words", "dim": 8, "layers": [1, 2]}
    assert cell_of(encoder__text=written).id == cell_of().id
    assert cell_of(encoder__text=written).encoder["text"]["name"] == "acme.words"


def test_two_inputs_bring_the_fusion_in() -> None:
    inputs = {m: {"column": m, "modality": m} for m in ("text", "image")}
    cell = cell_of(product__inputs=inputs)
    assert cell.fusion == {"name": "acme.side"}
    assert list(cell.encoder) == ["text", "image"]
    assert cell.name == "mail-words-pixels-deep"
    assert cell.encoder_label == "words+pixels"
    assert [kind for kind, _ in cell.component_options()] == [
        "source",
        "encoder",
        "encoder",
        "fusion",
        "head",
    ]
    assert cell_of().fusion is None
    assert [kind for kind, _ in cell_of().component_options()] == ["source", "encoder", "head"]


def test_a_name_is_fit_for_a_folder() -> None:
    job = make_job()
    nested = type(job)(job.config, {**job.choices, "encoder/text": "family/small", "head": ""}, ())
    assert resolve(nested, HUB).name == "mail-family.small"


def test_the_level_follows_from_the_task() -> None:
    assert cell_of().level == "pooled"
    assert cell_of(product__outputs__topic__task="token_classification").level == "tokens"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"product__inputs": {}}, "at least one of product.inputs"),
        ({"product__outputs": {}}, "at least one of product.inputs"),
        ({"product__source": {"name": "acme.rows"}}, "product.source.path is not set: add"),
        ({"product__name": "???"}, "product.name is not set"),
        ({"product__outputs__topic__target": "???"}, "product.outputs.topic.target is not set"),
        ({"head": None}, "No head is chosen: type head=NAME"),
        ({"head": {"name": "acme.dep"}}, "Did you mean 'acme.deep'"),
        ({"head": {"name": "acme.deep", "dmi": 3}}, "Did you mean 'dim'"),
        ({"encoder__text": None}, "encoder/text=NAME"),
        ({"product__inputs__body__modality": "sound"}, "Unknown modality 'sound'"),
    ],
)
def test_what_cannot_be_resolved_says_what_to_type(change: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError) as raised:
        cell_of(**change)
    assert message in str(raised.value)


def test_cells_survive_json() -> None:
    cell = cell_of(trainer__lr=0.5)
    assert Cell.from_dict(json.loads(json.dumps(cell.to_dict()))) == cell


@given(
    st.dictionaries(st.text(), st.none() | st.integers() | st.text() | st.lists(st.floats(allow_nan=False)))
)
def test_digests_are_short_stable_and_blind_to_order(value: dict[str, Any]) -> None:
    found = digest(value)
    assert len(found) == 16
    assert digest(dict(reversed(value.items()))) == found
    assert digest({**value, "one more": 1}) != found or value.get("one more") == 1


def test_paths_of_a_real_plan_are_kept_as_typed(tmp_path: Path) -> None:
    plan = mh.plan(["product=toy", f"output_dir={tmp_path}", "cache_dir=a b"])
    assert (plan.output_dir, plan.cache_dir) == (str(tmp_path), "a b")
    assert make_plan([make_job()], HUB).output_dir == "runs"
