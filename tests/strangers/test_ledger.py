"""A callback of a stranger's, through the command line."""

import json
from pathlib import Path
from typing import Any

from tests.command import command
from tests.toys import FAST, toy_options, write_products


def lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_each_cell_has_a_line(site: Path, tmp_path: Path) -> None:
    conf, ledger = write_products(tmp_path / "conf"), tmp_path / "kept.jsonl"
    options = (*FAST, "--config-dir", str(conf), *toy_options(tmp_path))
    watched = ("callback=ledger", f"callback.ledger.path={ledger}")
    done = command("run", "-m", "product=colour,broken", "head=linear,mlp", *options, *watched, site=site)
    assert done.returncode == 1, done.stderr
    told = lines(ledger)
    assert [(line["name"], line["status"]) for line in told] == [
        ("colour-hash-linear", "done"),
        ("colour-hash-mlp", "done"),
        ("broken-hash-linear", "failed"),
        ("broken-hash-mlp", "failed"),
    ]
    assert all(line["metrics"]["label"]["accuracy"] > 0.8 for line in told[:2])
    assert all(line["metrics"] == {} for line in told[2:])
    again = command("run", "product=size", "head=linear", *options, *watched, site=site)
    assert again.returncode == 0, again.stderr
    assert lines(ledger)[:4] == told and lines(ledger)[4]["name"] == "size-hash-linear"


def test_a_ledger_that_cannot_be_written_costs_no_cell(site: Path, tmp_path: Path) -> None:
    conf = write_products(tmp_path / "conf")
    options = (*FAST, "--config-dir", str(conf), *toy_options(tmp_path))
    nowhere = ("callback=ledger", f"callback.ledger.path={tmp_path}/no/such/folder.jsonl")
    done = command("run", "product=colour", "head=linear", *options, *nowhere, site=site)
    assert done.returncode == 0
    assert "The callback 'ledger.ledger' failed" in done.stderr


def test_it_is_listed_with_where_it_comes_from(site: Path) -> None:
    assert "matrixhub-ledger 0.3.0" in command("list", "callback", site=site).stdout
    assert "ledger" not in command("list").stdout
