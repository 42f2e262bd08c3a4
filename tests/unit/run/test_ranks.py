"""Two ranks: the same numbers as one, the same weights on both, and no rank left waiting."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from matrixhub.run.joint_loop import fit_jointly
from matrixhub.run.loop import fit
from matrixhub.run.stack import fit_stack
from tests.command import environment
from tests.unit.run import ranks_script, tiny


@pytest.fixture(scope="module")
def seen(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What two ranks saw in all the cases of the script; started once."""
    folder = tmp_path_factory.mktemp("ranks")
    root = Path(__file__).parents[3]
    command = [
        *(sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"),
        *("-m", ranks_script.__name__, str(folder)),
    ]
    # No hang: far below the half hour that collectives wait.
    done = subprocess.run(
        command, env=environment(root), cwd=root, capture_output=True, text=True, check=False, timeout=120
    )
    assert done.returncode == 0, done.stderr
    return folder


def told(seen: Path, case: str) -> list[Any]:
    return [json.loads((seen / f"{case}-{rank}.json").read_text()) for rank in (0, 1)]


def weights(seen: Path, case: str) -> list[dict[str, torch.Tensor]]:
    return [torch.load(seen / f"{case}-{rank}.pt", weights_only=True) for rank in (0, 1)]


@pytest.mark.parametrize("case", ["frozen", "accumulated", "tuned", "grouped", "few"])
def test_two_ranks_train_as_one_does(seen: Path, case: str) -> None:
    make, changes = ranks_script.CASES[case]
    model, task = make()
    losses: list[float] = []
    history = fit(
        model,
        task,
        trainer={**tiny.TRAINER, **changes},
        accelerator=tiny.accelerator(),
        on_step=lambda step, loss: losses.append(float(loss)),
    )
    for found in told(seen, case):
        assert found["error"] is None
        assert found["losses"] == pytest.approx(losses, abs=1e-5)
        for entry, wanted in zip(found["epochs"], history.epochs, strict=True):
            assert entry == pytest.approx(wanted, abs=1e-5)
    first, second = weights(seen, case)
    assert tiny.apart(first, second) == 0
    assert tiny.apart(first, tiny.weights(model)) < 1e-5


def test_a_stack_on_two_ranks_is_the_stack_on_one(seen: Path) -> None:
    alone = ranks_script.stacked()
    fit_stack(alone, tiny.task(), monitor="loss", accelerator=tiny.accelerator())
    for k, member in enumerate(alone):
        first, second = weights(seen, f"stacked{k}")
        assert tiny.apart(first, second) == 0
        assert tiny.apart(first, tiny.weights(member.model)) < 1e-5


@pytest.mark.parametrize("case", ranks_script.JOINT)
def test_products_on_two_ranks_train_jointly_as_on_one(seen: Path, case: str) -> None:
    changes, balance = ranks_script.JOINT[case]
    models, tasks = tiny.text_products(balance=balance)
    fit_jointly(models, tasks, trainer={**tiny.JOINT, **changes}, accelerator=tiny.accelerator())
    for k, model in enumerate(models):
        first, second = weights(seen, f"{case}{k}")
        assert tiny.apart(first, second) == 0
        assert tiny.apart(first, tiny.weights(model)) < 1e-5


def test_both_ranks_name_the_row_that_only_one_of_them_had(seen: Path) -> None:
    """Reliability row 14, on two ranks; weights unchanged."""
    for found, state in zip(told(seen, "poisoned"), weights(seen, "poisoned"), strict=True):
        assert found["error"].startswith("NonFiniteError: The loss or its gradient is not a finite number")
        assert "at row 15; no step" in found["error"]
        assert all(bool(torch.isfinite(tensor).all()) for tensor in state.values())
    first, second = weights(seen, "poisoned")
    assert tiny.apart(first, second) == 0


@pytest.mark.parametrize(("case", "row"), [("unreadable", 15), ("unreadable_validation", 51)])
def test_both_ranks_stop_with_the_error_of_the_one_that_failed(seen: Path, case: str, row: int) -> None:
    """Reliability row 13."""
    errors = sorted(found["error"] for found in told(seen, case))
    assert errors[0].startswith(f"DataError: row {row}: text is a string")
    assert errors[1].startswith("TrainingError: Rank ")
    assert f"row {row}: text is a string" in errors[1]


def test_work_done_together_fails_together(seen: Path) -> None:
    first, second = (json.loads((seen / f"agree-{rank}.json").read_text()) for rank in (0, 1))
    assert first[:3] == [
        "fine",
        "TrainingError: Rank 1: ValueError: no good on 1",
        "TrainingError: Rank 0: ValueError: no good on 0",
    ]
    assert second[:3] == first[:3]
    assert first[3:] == second[3:] == ["fine", "fine", "TrainingError: Rank 1: ValueError: no good on 1"]


def test_a_process_group_ends_with_its_threads(seen: Path) -> None:
    """One that still holds a tensor while the interpreter ends aborts the process, now and then."""
    for rank in (0, 1):
        before, after = json.loads((seen / f"threads-{rank}.json").read_text())
        assert before > 0
        assert after == 0
