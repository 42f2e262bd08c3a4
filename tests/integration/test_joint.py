"""Products trained jointly, from the command line to artifacts that stand alone."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

import matrixhub as mh
from tests.command import command
from tests.toys import FAST, record_of, run_toy, toy_options, write_products

JOINT = ("trainer=finetune", "trainer.joint=proportional", "head=linear", "baseline=false")
BOTH = ("-m", "product=colour,size", *FAST, "trainer.epochs=4", *JOINT)


def typed(folder: Path, *argv: str) -> list[dict[str, Any]]:
    """Records of a command, all of whose cells are done."""
    if not (folder / "conf").exists():
        write_products(folder / "conf", 150)
    done = command("run", "--config-dir", str(folder / "conf"), *toy_options(folder), *argv)
    assert done.returncode == 0, done.stderr
    *_, newest = sorted((folder / "runs").glob("*/records.jsonl"))
    return [json.loads(line) for line in newest.read_text().splitlines()]


def test_two_ranks_give_what_one_process_gives(tmp_path: Path) -> None:
    one = typed(tmp_path / "one", *BOTH)
    two = typed(tmp_path / "two", *BOTH, "launch.num_processes=2", "launch.cpu=true")
    assert [record["joint"] for record in one] == [["size"], ["colour"]]
    assert [record["joint"] for record in two] == [["size"], ["colour"]]
    for first, second in zip(one, two, strict=True):
        for mine, other in zip(first["epochs"], second["epochs"], strict=True):
            assert mine == pytest.approx(other, abs=1e-4)
        assert first["losses"] == pytest.approx(second["losses"], abs=1e-4)


def test_a_plan_tells_of_it_and_refuses_one_alone(tmp_path: Path) -> None:
    conf = ("--config-dir", str(write_products(tmp_path / "conf")))
    told = command("plan", *conf, *toy_options(tmp_path), *BOTH)
    assert "trains encoder and heads, jointly with size" in told.stdout
    alone = command("plan", *conf, *toy_options(tmp_path), "product=colour", *JOINT)
    assert alone.returncode == 2
    assert "-m product=colour,OTHER" in alone.stderr


def test_a_group_of_which_one_is_lost_trains_again_as_a_whole(tmp_path: Path) -> None:
    options = [*BOTH[1:], "trainer.epochs=1"]
    first = run_toy(tmp_path, *options, rows=100, multirun=True)
    shutil.rmtree(record_of(first, "size")["artifact"])
    again = run_toy(tmp_path, *options, rows=100, multirun=True)
    assert [(r["status"], "from_run" in r) for r in again.records] == [("done", False)] * 2
    assert [r["metrics"] for r in again.records] == [r["metrics"] for r in first.records]


def test_each_trial_of_a_search_is_a_group(tmp_path: Path) -> None:
    search = ["hydra/sweeper=optuna", "hydra.sweeper.num_trials=3", "hydra.sweeper.batch_size=2"]
    options = [*BOTH[1:], "trainer.epochs=1", "trainer.lr=tag(log,interval(1e-3,1e-1))"]
    run = run_toy(tmp_path, *search, *(o for o in options if o != FAST[0]), rows=100, multirun=True)
    assert [record["joint"] for record in run.records] == [["size"], ["colour"]] * 3
    assert len({cell.joint for cell in run.plan.cells.values()}) == 3


def test_one_that_is_joined_by_another_product_is_another_cell(tmp_path: Path) -> None:
    conf = write_products(tmp_path / "conf")
    pairs = [
        mh.plan([*toy_options(tmp_path), f"product={names}", *JOINT], config_dir=conf, multirun=True)
        for names in ("colour,size", "colour,topics")
    ]
    assert not set(pairs[0].cells) & set(pairs[1].cells)


@pytest.mark.slow
def test_reviews_and_news_learn_on_one_minilm(tmp_path: Path) -> None:
    argv = ("product=reviews,news", "product.source.limit=800", "head=linear", "trainer.epochs=2")
    done = command("run", "-m", *argv, *JOINT, f"output_dir={tmp_path}", timeout=1800)
    assert done.returncode == 0, done.stderr
    (path,) = tmp_path.glob("*/records.jsonl")
    reviews, news = map(json.loads, path.read_text().splitlines())
    # The commonest topic is a quarter of the news, and a sentiment half of the reviews.
    assert news["metrics"]["topic"]["accuracy"] > 0.75
    assert reviews["metrics"]["sentiment"]["accuracy"] > 0.6
    states = [mh.load(record["artifact"]).model.encoders["text"].state_dict() for record in (reviews, news)]
    assert all(bool((states[0][name] == tensor).all()) for name, tensor in states[1].items())
