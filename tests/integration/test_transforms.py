"""Transforms from the command line to the answers of a trained product."""

import json
from pathlib import Path
from typing import Any

import pytest

import matrixhub as mh
from matrixhub.cli.main import main
from tests.toys import FAST, run_toy, toy_options, write_products

TICKETS = [("the car", "is red", "red"), ("a sofa", "in blue", "blue"), ("one cup", "so green", "green")]


def write_tickets(path: Path, copies: int = 40) -> Path:
    """Rows whose colour is in the second of two columns; every row occurs twice."""
    rows = [f"{a} {i},{b},{c}" for i in range(copies) for a, b, c in TICKETS for _ in range(2)]
    path.write_text("\n".join(["title,body,label", *rows]))
    return path


def options(folder: Path) -> list[str]:
    tickets = folder / "tickets.csv"
    return [
        "product=text",
        f"product.source.path={tickets if tickets.exists() else write_tickets(tickets)}",
        "product.inputs.text.column=whole",
        "product/transform=[distinct,join]",
        "product.transform.distinct.column=title",
        "product.transform.join.columns=[title,body]",
        "product.transform.join.into=whole",
        *toy_options(folder),
        *FAST,
    ]


@pytest.fixture(scope="module")
def joined(tmp_path_factory: pytest.TempPathFactory) -> mh.Run:
    return mh.run(options(tmp_path_factory.mktemp("joined")), quiet=True)


def test_rows_go_through_transforms_in_their_order(joined: mh.Run) -> None:
    (record,) = joined.records
    assert record["status"] == "done"
    assert sum(record["num_rows"].values()) == 120  # half of the 240
    assert record["metrics"]["label"]["accuracy"] > 0.95
    load, *_ = joined.plan.stages
    assert load.label == "core.table through fixture.distinct, fixture.join"
    (cell,) = joined.plan.cells.values()
    assert [one["name"] for one in cell.transform] == ["fixture.distinct", "fixture.join"]


def test_the_artifact_applies_them_again(joined: mh.Run) -> None:
    product = joined.load("text")
    raw = [{"title": "one boat", "body": "is red"}, {"title": "one boat", "body": "so green"}] * 2
    assert [answer.value for answer in product(raw)] == ["red", "green"] * 2
    assert product(raw[0]).scores == pytest.approx(product(raw)[0].scores, abs=1e-6)
    with pytest.raises(mh.PluginError, match=r"'fixture.join' failed: KeyError.*title"):
        product("one boat is red")
    with pytest.raises(mh.DataError, match="transforms read tables"):
        product(object())


def test_predict_and_evaluate(joined: mh.Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    artifact, tickets = joined.records[0]["artifact"], write_tickets(tmp_path / "new.csv", copies=2)
    assert main(["predict", artifact, str(tickets)]) == 0
    answers = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert len(answers) == 12  # none dropped
    assert [row["predicted_label"] for row in answers] == [row["label"] for row in answers]
    assert main(["evaluate", artifact, str(tickets), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["num_rows"] == 12
    assert found["metrics"]["label"]["accuracy"] == 1


def test_options_order_and_code_name_a_cell(tmp_path: Path) -> None:
    def cell(*overrides: str) -> str:
        return next(iter(mh.plan([*options(tmp_path), *overrides]).cells))

    first = cell()
    assert cell() == first
    others = [
        cell("product.transform.distinct.column=body"),
        cell("product/transform=[join,distinct]"),
        cell("+product/transform@product.transform.longer=longer"),
    ]
    assert len({first, *others}) == 4


def test_a_sweep_over_transforms_shares_what_it_can(tmp_path: Path) -> None:
    conf = write_products(tmp_path / "conf")
    sweep = ["product=colour", "product/transform=[],[longer],[distinct,longer]", "head=linear,mlp"]
    plan = mh.plan([*toy_options(tmp_path), *sweep], multirun=True, config_dir=conf)
    assert len(plan.cells) == 6
    assert [stage.kind for stage in plan.stages].count("load") == 3


PRESET = """# @package product.transform.longer
defaults: [fixture.longer, _self_]
least: 5
"""
PRODUCT = """defaults:
  - colour
  - override /product/transform@_global_.product.transform: [five]
  - _self_
name: long
"""


def test_a_product_and_a_preset_choose_them_too(tmp_path: Path) -> None:
    conf = write_products(tmp_path / "conf")
    (conf / "product" / "transform").mkdir()
    (conf / "product" / "transform" / "five.yaml").write_text(PRESET)
    (conf / "product" / "long.yaml").write_text(PRODUCT)
    plan = mh.plan([*toy_options(tmp_path), "product=long"], config_dir=conf)
    (cell,) = plan.cells.values()
    assert cell.transform == [{"name": "fixture.longer", "column": "text", "least": 5}]


FAULTS: dict[str, tuple[list[str], str]] = {
    "all rows": (["product.transform.longer.least=99"], "Transform 'fixture.longer' drops all rows."),
    "an error": (["product.transform.longer.column=no"], "Transform 'fixture.longer' failed: KeyError"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_what_goes_wrong_names_the_transform(fault: str, tmp_path: Path) -> None:
    overrides, message = FAULTS[fault]
    run = run_toy(tmp_path, "product=colour", "product/transform=longer", *overrides)
    (record,) = run.records
    assert record["status"] == "failed"
    assert message in record["error"]
    assert record["exit_code"] == 2


def test_a_row_dropped_while_answering_is_the_transforms_fault(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    chosen = ("product/transform=longer", "product.transform.longer.least=3")
    run = run_toy(tmp_path, "product=colour", *chosen, *FAST)
    product: Any = run.load("colour")
    assert product("the tiny red car").value == "red"
    with pytest.raises(mh.PluginError, match=r"'fixture.longer' makes 1 rows of 2.*training_only = True"):
        product(["the tiny red car", "red"])
    rows = tmp_path / "rows.csv"
    rows.write_text("text\nthe tiny red car\nred\n")
    assert main(["predict", str(product.folder), str(rows)]) == 2
    assert "fixture.longer" in capsys.readouterr().err
