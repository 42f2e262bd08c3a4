"""A search product from the command line on two ranks: it learns what one process learns, and is searched."""

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.command import command

WORDS = re.findall(r"\w+", "red green blue gold pink grey teal lime plum navy rust sand jade mint rose wine")
RANKS = ("launch.num_processes=2", "launch.cpu=true", "launch.timeout=60")
WAYS = {
    "frozen": ("trainer.lr=0.03", "trainer.epochs=12"),
    "finetune": ("trainer=finetune", "trainer.lr=0.03", "trainer.encoder_lr=0.03", "trainer.epochs=4"),
}


def write_phrases(path: Path, count: int = 203) -> Path:
    """Rows whose document says what the query says, and more; batches of 32 leave some over."""
    rng = np.random.default_rng(0)
    lines = ["query\tdocument"]
    for i in range(count):
        words = rng.choice(WORDS, 3)
        lines.append(f"{' '.join(words)}\tthe {' and '.join(words)} number {i}")
    path.write_text("\n".join(lines), "utf-8")
    return path


def trained(folder: Path, table: Path, *overrides: str) -> dict[str, Any]:
    """The record of the one cell of a command."""
    folder.mkdir()
    done = command(
        "run", "product=search", f"product.source.path={table}", "encoder/text=hash", "fusion.dim=32",
        "fusion.hidden=0", "fusion.dropout=0", "trainer.batch_size=32", *overrides,
        f"output_dir={folder}/runs", f"cache_dir={folder}/cache",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    (records,) = (folder / "runs").glob("*/records.jsonl")
    (record,) = map(json.loads, records.read_text().splitlines())
    found: dict[str, Any] = record
    return found


@pytest.mark.slow
@pytest.mark.parametrize("way", WAYS)
def test_two_ranks_learn_what_one_process_learns_and_are_searched(way: str, tmp_path: Path) -> None:
    table = write_phrases(tmp_path / "faq.tsv")
    alone = trained(tmp_path / "one", table, *WAYS[way])
    record = trained(tmp_path / "two", table, *WAYS[way], *RANKS)
    assert len(alone["epochs"]) == len(record["epochs"]) > 1
    for mine, other in zip(record["epochs"], alone["epochs"], strict=True):
        for loss in ("train_loss", "loss"):
            assert mine[loss] == pytest.approx(other[loss], abs=1e-3)
    scores, chance = record["metrics"]["match"], record["baselines"]["match"]["chance"]
    one_row = 1 / record["num_rows"]["test"]
    assert scores == pytest.approx(alone["metrics"]["match"], abs=1.5 * one_row)  # of what is all but a tie
    assert scores["recall_at_10"] > 0.8 > chance["recall_at_10"]
    artifact = record["artifact"]
    indexed = command("index", artifact, str(table))
    assert indexed.returncode == 0 and "203 rows added (203 encoded)" in indexed.stderr, indexed.stderr
    query, document = table.read_text("utf-8").splitlines()[17].split("\t")
    found = command("search", artifact, query, "-k", "3", "--json")
    assert found.returncode == 0, found.stderr
    assert document in [json.loads(line)["document"] for line in found.stdout.splitlines()]
