"""The same command on two ranks: the same scores, ranks started once, no hang when one of them fails."""

import json
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from safetensors.torch import load_file

from matrixhub.plan.history import read_records
from tests.command import Done, command, environment
from tests.fixture_plugin.fake import write_plugin
from tests.toys import FAST, run_toy, toy_options, write_products

WATCHER = """
import os
from pathlib import Path
from matrixhub import hookimpl

@hookimpl
def matrixhub_cell_started(cell):
    with Path(os.environ["WATCHED"]).open("a") as file:
        file.write(f"{os.getpid()} {os.environ.get('WORLD_SIZE')}\\n")

@hookimpl
def matrixhub_cell_finished(cell, record):
    raise RuntimeError("a hook that fails")
"""
SWEEP = ("-m", "product=colour,several", *FAST)


def only_run(folder: Path) -> Path:
    (found,) = (folder / "runs").iterdir()
    return found


def same_scores(found: list[dict[str, Any]], wanted: list[dict[str, Any]]) -> None:
    assert [r["name"] for r in found] == [r["name"] for r in wanted]
    for one, other in zip(found, wanted, strict=True):
        for output, metrics in other["metrics"].items():
            assert one["metrics"][output] == pytest.approx(metrics, abs=1e-4)
        weights = [load_file(Path(r["artifact"]) / "readout.safetensors") for r in (one, other)]
        for name, tensor in weights[0].items():
            assert float((tensor - weights[1][name]).abs().max()) < 1e-4


def test_two_ranks_score_as_one_and_are_started_once_for_a_sweep(tmp_path: Path) -> None:
    site, watched = tmp_path / "site", tmp_path / "watched"
    write_plugin(site, "watcher", WATCHER)
    alone = run_toy(tmp_path / "alone", "product=colour,several", *FAST, multirun=True)
    conf = write_products(tmp_path / "conf")
    done = command(
        "run", *SWEEP, "--config-dir", str(conf), *toy_options(tmp_path), "launch.num_processes=2",
        "launch.cpu=true", "launch.timeout=60", site=site, WATCHED=str(watched),
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "Leaderboard" in done.stdout
    lines = watched.read_text().splitlines()
    assert len(lines) == 2
    assert len(set(lines)) == 1, "each cell had a process of its own"
    assert lines[0].endswith(" 2")
    assert "a hook that fails" in done.stderr
    same_scores(read_records(only_run(tmp_path)), alone.records)


@pytest.mark.slow
def test_torchrun_leads_and_follows(tmp_path: Path) -> None:
    """Rank 0 plans, rank 1 follows, and only one run folder is made."""
    alone = run_toy(tmp_path / "alone", "product=colour,several", *FAST, multirun=True)
    conf = write_products(tmp_path / "conf")
    done = subprocess.run(
        [
            *(sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"),
            *("-m", "matrixhub", "run", *SWEEP, "--config-dir", str(conf), *toy_options(tmp_path)),
        ],
        env=environment(), capture_output=True, text=True, check=False, timeout=240,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("Leaderboard") == 1
    same_scores(read_records(only_run(tmp_path)), alone.records)


def images_with_one_broken(folder: Path) -> tuple[Path, int]:
    """A folder of 60 images of two classes; which row of the table cannot be decoded."""
    rng = np.random.default_rng(0)
    for name, level in (("dark", 40), ("light", 200)):
        (folder / name).mkdir(parents=True)
        for i in range(30):
            pixels = rng.integers(level - 40, level + 40, (8, 8, 3)).astype(np.uint8)
            Image.fromarray(pixels).save(folder / name / f"{i:02}.png")
    (folder / "light" / "07.png").write_bytes(b"this is no image")
    return folder, 37


@pytest.mark.slow
def test_a_row_that_fails_on_one_rank_fails_its_cells_on_both(tmp_path: Path) -> None:
    """Reliability row 13: frozen and fine-tuned, in one run, far within the timeout of collectives."""
    folder, row = images_with_one_broken(tmp_path / "images")
    started = time.monotonic()
    done = command(
        "run", "-m", "product=image", f"product.source.path={folder}", "trainer=frozen,finetune",
        *toy_options(tmp_path), "product.split.stratify=true", "launch.num_processes=2", "trainer.epochs=2",
    )  # fmt: skip
    assert time.monotonic() - started < 200
    assert done.returncode == 1
    records = read_records(only_run(tmp_path))
    assert [record["status"] for record in records] == ["failed", "failed"]
    for record in records:
        assert f"row {row + 1}" in record["error"]
        assert "not an image" in record["error"]
        assert record["exit_code"] == 2
    assert "Traceback" not in done.stderr


@pytest.mark.slow
def test_more_ranks_than_rows_of_a_batch(tmp_path: Path) -> None:
    alone = run_toy(tmp_path / "alone", "product=colour", "trainer.epochs=1", "trainer.batch_size=1")
    conf = write_products(tmp_path / "conf")
    done = command(
        "run", "product=colour", "trainer.epochs=1", "trainer.batch_size=1", "--config-dir", str(conf),
        *toy_options(tmp_path), "launch.num_processes=3",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    same_scores(read_records(only_run(tmp_path)), alone.records)


BROKEN = '''
import os
from dataclasses import dataclass
from matrixhub import hookimpl

@dataclass
class Config:
    """A head that dies on one rank."""

@hookimpl
def matrixhub_components(register):
    register("head", "dying", f"{__name__}:build", config=Config, consumes="pooled")

def build(*, dim, target):
    import torch
    from matrixhub.plugins import hub
    head = hub().component("head", "heads.linear").factory()(dim=dim, target=target)
    loss = head.loss
    def failing(outputs, targets):
        if os.environ.get("RANK") == "1" and torch.is_grad_enabled():
            raise RuntimeError("rank one is gone")
        return loss(outputs, targets)
    head.loss = failing
    return head
'''


@pytest.mark.slow
def test_an_error_that_no_other_rank_could_hear_of_ends_the_run(tmp_path: Path) -> None:
    """In the middle of a step the others wait in a collective: all are ended, with that rank's error."""
    site, conf = tmp_path / "site", write_products(tmp_path / "conf")
    write_plugin(site, "broken", BROKEN)
    done: Done = command(
        "run", "product=colour", "head=broken.dying", "--config-dir", str(conf), *toy_options(tmp_path),
        "launch.num_processes=2", site=site,
    )  # fmt: skip
    assert done.returncode == 1
    last = done.stderr.strip().splitlines()[-1]
    assert last == "matrixhub: Rank 1 failed: RuntimeError: rank one is gone"
    error = json.loads((only_run(tmp_path) / "error.json").read_text())
    assert error["rank"] == 1
