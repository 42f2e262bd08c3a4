"""Encode stages of several processes at once, of killed ones, and of ranks: each row is encoded once."""

import json
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from matrixhub.run import features
from tests.command import environment
from tests.unit.run import features_script

ROOT = Path(__file__).parents[3]
MODULE = features_script.__name__
RANKS = ("-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2")


def start(folder: Path, name: str, *cases: str, ranks: bool = False) -> subprocess.Popen[str]:
    argv = [sys.executable, *(RANKS if ranks else ()), "-m", MODULE, str(folder), name, *cases]
    return subprocess.Popen(argv, env=environment(ROOT), cwd=ROOT, stderr=subprocess.PIPE, text=True)


def told(folder: Path, name: str, *cases: str, ranks: bool = False) -> list[list[dict[str, Any]]]:
    """What each rank saw in each case."""
    process = start(folder, name, *cases, ranks=ranks)
    _, err = process.communicate(timeout=120)
    assert process.returncode == 0, err
    return [json.loads((folder / f"{name}-{rank}.json").read_text()) for rank in range(1 + ranks)]


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory) -> dict[int, dict[str, Any]]:
    """What one process saw that nobody disturbed, by number of rows."""
    folder = tmp_path_factory.mktemp("alone")
    ((whole, grown),) = told(folder, "alone", "400", "430")
    assert (whole["encoded"], grown["encoded"]) == (400, 30)
    return {400: whole, 430: grown}


def segments(folder: Path) -> int:
    return len(list(folder.glob("features/*/*/meta.json")))


def test_two_processes_at_once_encode_each_row_once(tmp_path: Path, alone: dict[int, dict[str, Any]]) -> None:
    """Reliability row 19."""
    processes = [start(tmp_path, name, "400") for name in ("one", "other")]
    for process in processes:
        _, err = process.communicate(timeout=120)
        assert process.returncode == 0, err
    found = [json.loads((tmp_path / f"{name}-0.json").read_text())[0] for name in ("one", "other")]
    assert sorted(seen["encoded"] for seen in found) == [0, 400]
    assert {seen["hash"] for seen in found} == {alone[400]["hash"]}


def test_what_a_killed_writer_had_written_is_kept_and_the_rest_goes_on(
    tmp_path: Path, alone: dict[int, dict[str, Any]]
) -> None:
    """Reliability row 19: killed by SIGKILL in the middle."""
    process = start(tmp_path, "killed", "400")
    deadline = time.monotonic() + 60
    while segments(tmp_path) < 3 and time.monotonic() < deadline:
        time.sleep(0.01)
    process.kill()
    process.communicate()
    kept = segments(tmp_path)
    assert 3 <= kept < 8
    ((seen,),) = told(tmp_path, "again", "400")
    assert seen["encoded"] == 400 - kept * features_script.SEGMENT
    assert seen["hash"] == alone[400]["hash"], "as if nothing had happened"
    assert list(tmp_path.glob("features/*/.writing-*")) == []


def test_ranks_share_the_work_fail_together_and_go_on(
    tmp_path: Path, alone: dict[int, dict[str, Any]]
) -> None:
    """Reliability row 13."""
    first, second = told(tmp_path, "ranks", "400", "430!", "430", ranks=True)
    assert [first[0]["encoded"], second[0]["encoded"]] == [200, 200]
    assert first[1]["error"] == "TrainingError: Rank 1: row 402: no good"
    assert second[1]["error"] == "DataError: row 402: no good"
    # What rank 0 had written when rank 1 failed is there.
    assert first[2]["encoded"] + second[2]["encoded"] == 15
    assert first[2]["shape"] == second[2]["shape"] == alone[430]["shape"]
    assert first[2]["hash"] == second[2]["hash"]


def test_segments_hold_rows_enough_to_sort_by_length() -> None:
    from matrixhub.run.encode import LARGEST_WINDOW

    assert features.ROWS_PER_SEGMENT["pooled"] % LARGEST_WINDOW == 0
