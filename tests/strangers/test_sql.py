"""A source of a stranger's: whole and streamed, and a product trained on it through the command line."""

import json
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from tests.command import command, environment, python

ROWS = 240
CONFORMANCE = """
import sqlite3
from contextlib import closing
from matrixhub.testing import conformance

def options(folder):
    with closing(sqlite3.connect(folder / "x.db")) as database, database:
        database.execute("CREATE TABLE letters (text TEXT, size REAL)")
        database.executemany("INSERT INTO letters VALUES (?, ?)", [(f"word {i}", i / 2) for i in range(25)])
    return {"path": str(folder / "x.db"), "table": "letters"}

test_conformance = conformance("sql", options={"source.sqlite": options})
"""
LOOK = """
import json, sys
import pyarrow as pa
import matrixhub as mh
source = mh.create("source", "sqlite", path=sys.argv[1], table="letters")
whole = source.read()
parts = list(source.batches(7))
again = mh.create("source", "sqlite", path=sys.argv[1], table="letters")
print(json.dumps({
    "rows": whole.num_rows, "types": [str(t) for t in whole.schema.types],
    "equal": pa.concat_tables(parts).equals(whole), "largest": max(p.num_rows for p in parts),
    "repeats": again.read().equals(whole), "same": again.fingerprint() == source.fingerprint(),
    "fingerprint": source.fingerprint(), "gap": whole["size"].null_count,
}))
"""


@pytest.fixture
def letters(tmp_path: Path) -> Path:
    """A database of letters, each about a topic."""
    path = tmp_path / "letters.db"
    with closing(sqlite3.connect(path)) as database, database:
        database.execute(
            "CREATE TABLE letters (id INTEGER PRIMARY KEY, text VARCHAR(80), topic TEXT, size REAL)"
        )
        database.executemany(
            "INSERT INTO letters (text, topic, size) VALUES (?, ?, ?)",
            [(f"{'a bill for' if i % 2 else 'a greeting to'} no{i}", "bank" if i % 2 else "family", i or None)
             for i in range(ROWS)],
        )  # fmt: skip
    return path


def look(site: Path, path: Path) -> dict[str, Any]:
    found: dict[str, Any] = python(LOOK, str(path), site=site)
    return found


def test_streaming_gives_what_loading_gives_and_the_fingerprint_follows_the_file(
    site: Path, letters: Path
) -> None:
    first = look(site, letters)
    assert (first["rows"], first["gap"], first["largest"]) == (ROWS, 1, 7)
    assert first["types"] == ["int64", "string", "string", "double"]
    assert first["equal"] and first["repeats"] and first["same"]
    with closing(sqlite3.connect(letters)) as database, database:
        database.execute("INSERT INTO letters (text, topic) VALUES ('one more', 'family')")
    second = look(site, letters)
    assert second["rows"] == ROWS + 1
    assert second["fingerprint"] != first["fingerprint"]


def test_a_product_is_trained_on_it(site: Path, letters: Path, tmp_path: Path) -> None:
    product = {
        "defaults": [{"source": "sqlite"}, "_self_"],
        "name": "letters",
        "source": {"path": str(letters), "table": "letters"},
        "inputs": {"text": {"column": "text", "modality": "text"}},
        "outputs": {"topic": {"task": "classification", "target": "topic"}},
    }
    (tmp_path / "conf" / "product").mkdir(parents=True)
    (tmp_path / "conf" / "product" / "letters.yaml").write_text(json.dumps(product))
    options = (
        "encoder/text=hash",
        "head=linear",
        f"output_dir={tmp_path}/runs",
        f"cache_dir={tmp_path}/cache",
    )
    argv = ("product=letters", *options, "--config-dir", str(tmp_path / "conf"))
    done = command("run", *argv, site=site)
    assert done.returncode == 0, done.stderr
    (records,) = (tmp_path / "runs").glob("*/records.jsonl")
    assert json.loads(records.read_text())["metrics"]["topic"]["accuracy"] > 0.95
    lost = command("run", *argv, "product.source.table=leters", site=site)
    assert lost.returncode != 0
    assert "has no table 'leters'. There is: letters." in lost.stderr + lost.stdout
    gone = command("plan", *argv, "product.source.path=gone.db", site=site)
    assert gone.returncode != 0
    assert "'gone.db' is not there" in gone.stderr


def test_it_passes_the_kit(site: Path, tmp_path: Path) -> None:
    (tmp_path / "test_conformance.py").write_text(CONFORMANCE)
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--rootdir", str(tmp_path), "."],
        env=environment(site),
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout
