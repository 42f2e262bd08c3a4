"""Trackers are told what a run measures; TensorBoard's files are read back."""

import logging
from pathlib import Path

import pytest
from accelerate.tracking import LOGGER_TYPE_TO_CLASS, TensorBoardTracker
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from matrixhub.config.schema import TRACKERS
from matrixhub.errors import MatrixHubError
from matrixhub.plan import check
from matrixhub.run import track
from tests.toys import FAST, record_of, run_toy

ON = "launch.trackers=[tensorboard]"


def told(folder: Path) -> dict[str, list[tuple[int, float]]]:
    """Steps and values by name, from the files of one cell."""
    events = EventAccumulator(str(folder)).Reload()
    return {name: [(e.step, e.value) for e in events.Scalars(name)] for name in events.Tags()["scalars"]}


def test_every_cell_of_a_stack_has_its_epochs_and_its_scores(tmp_path: Path) -> None:
    run = run_toy(tmp_path, "product=colour", "trainer.seed=0,1", *FAST, ON, multirun=True)
    folders = sorted((run.folder / "tensorboard").iterdir())
    assert len(folders) == len(run.records) == 2
    for record in run.records:
        (folder,) = (f for f in folders if f.name.endswith(record["cell"][:6]))
        found = told(folder)
        accuracy = record["metrics"]["label"]["accuracy"]
        ((step, value),) = found["test/label.accuracy"]
        assert step == record["num_steps"]
        assert value == pytest.approx(accuracy)
        losses = [epoch["loss"] for epoch in record["epochs"]]
        assert [value for _, value in found["validation/loss"]] == pytest.approx(losses)
        steps = [step for step, _ in found["train/epoch_loss"]]
        assert steps[-1] == record["num_steps"]
        assert steps == sorted(steps)


def test_a_model_that_trains_alone_is_told_of_while_it_trains(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(track, "STEPS_BETWEEN_LOSSES", 3)
    run = run_toy(tmp_path, "product=colour", "trainer=finetune", *FAST, "trainer.epochs=2", ON)
    (folder,) = (run.folder / "tensorboard").iterdir()
    found = told(folder)
    num_steps = record_of(run, "colour")["num_steps"]
    assert [step for step, _ in found["train/loss"]] == list(range(3, num_steps + 1, 3))
    assert len(found["validation/label.accuracy"]) == 2


def test_a_tracker_that_fails_stops_no_training(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def start(self: object) -> None:
        raise OSError("nobody there")

    monkeypatch.setattr(TensorBoardTracker, "start", start)
    with caplog.at_level(logging.WARNING):
        run = run_toy(tmp_path, "product=colour", *FAST, ON)
    assert not run.failed
    assert (
        "The tracker 'tensorboard' failed and is left out from here on: OSError: nobody there" in caplog.text
    )


def test_trackers_that_cannot_be_are_refused_before_any_work(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(MatrixHubError, match=r"Unknown tracker 'tensorbord'\. Did you mean 'tensorboard'"):
        run_toy(tmp_path, "product=colour", "launch.trackers=[tensorbord]")
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    assert check.launch_objections({"mixed_precision": "no", "num_processes": 1, "trackers": ["wandb"]}) == [
        "The tracker wandb is not installed: pip install 'matrixhub[wandb]'."
    ]


def test_accelerate_knows_all_trackers_and_takes_their_arguments() -> None:
    assert set(TRACKERS) <= set(LOGGER_TYPE_TO_CLASS)
    for name in TRACKERS:
        tracker = LOGGER_TYPE_TO_CLASS[name](**track._ARGUMENTS[name]("a run", Path("folder")))
        assert tracker.name == name
