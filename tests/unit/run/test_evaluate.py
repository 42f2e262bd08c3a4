"""Scores do not depend on how rows are batched; cut words count as missed; records are strict JSON."""

import json
import math
from typing import Any

import numpy as np
import pytest
import torch

from matrixhub.errors import DataError
from matrixhub.run import evaluate as module
from matrixhub.run.evaluate import align_words, evaluate, match_targets, outputs_of
from matrixhub.run.monitor import Best, figures, require_figure
from matrixhub.run.records import strict
from matrixhub.types import Target
from tests.unit.run import tiny

TAGS = Target("token_classification", ("O", "B-x", "B-y"))


@pytest.mark.parametrize("make", [lambda: (tiny.model(), tiny.task()), tiny.text_model])
def test_outputs_come_in_the_order_of_the_rows(make: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    model, task = make()
    rows = np.array([5, 50, 7, 3, 20, 59, 0])
    whole, _ = outputs_of(model, task.feed, rows, accelerator=tiny.accelerator())
    monkeypatch.setattr(module, "FEATURE_BATCH", 2)
    monkeypatch.setattr(module, "ROW_BATCH", 2)
    parts, _ = outputs_of(model, task.feed, rows, accelerator=tiny.accelerator())
    alone = [
        outputs_of(model, task.feed, rows[i : i + 1], accelerator=tiny.accelerator())[0]["y"]
        for i in range(len(rows))
    ]
    assert float((whole["y"] - parts["y"]).abs().max()) < 1e-5
    assert float((whole["y"] - torch.cat(alone)).abs().max()) < 1e-5


def test_the_mode_of_the_model_is_kept() -> None:
    model, task = tiny.model().train(), tiny.task()
    evaluate(model, task.feed, task.targets, task.validation, accelerator=tiny.accelerator())
    assert model.training


def test_a_split_without_rows_cannot_be_scored() -> None:
    task = tiny.task()
    with pytest.raises(DataError, match="no rows to score"):
        evaluate(tiny.model(), task.feed, task.targets, np.arange(0), accelerator=tiny.accelerator())


def test_words_that_were_cut_count_as_the_first_class_in_any_batch() -> None:
    targets = torch.tensor([[1, 2, 1, 2, -100, -100], [1, -100, -100, -100, -100, -100]])
    mask = torch.tensor([[True, True], [True, False]])
    outputs = torch.randn(2, 2, 3)
    found, wanted = align_words(outputs, mask, targets)
    assert found.shape == (2, 4, 3)
    assert wanted.tolist() == [[1, 2, 1, 2], [1, -100, -100, -100]]
    assert torch.equal(found[0, :2], outputs[0])
    assert found[0, 2:].abs().max() == found[1, 1:].abs().max() == 0
    # The same row beside a longer one: its cut words are masked there.
    longer = torch.nn.functional.pad(outputs, (0, 0, 0, 3), value=9.0)
    wide, _ = align_words(longer, torch.nn.functional.pad(mask, (0, 3)), targets)
    assert torch.equal(wide[:, :4], found)


def test_targets_of_other_tasks_are_left_alone() -> None:
    outputs, targets = torch.zeros(2, 3), torch.zeros(2)
    assert align_words(outputs, None, targets) == (outputs, targets)
    assert match_targets(targets, outputs) is targets


def test_tags_are_cut_or_padded_to_the_words_of_a_batch() -> None:
    targets = torch.tensor([[1, 2, -100]])
    assert match_targets(targets, torch.zeros(1, 2, 3)).tolist() == [[1, 2]]
    assert match_targets(targets, torch.zeros(1, 5, 3)).tolist() == [[1, 2, -100, -100, -100]]


def test_scores_of_tags_count_every_word(monkeypatch: pytest.MonkeyPatch) -> None:
    """An encoder that reads 2 words of 4 cannot score above half of the tags."""
    from matrixhub.plugins import hub
    from matrixhub.run.feed import RowFeed
    from matrixhub.run.model import ProductModel, Readout

    encoder = (
        hub()
        .component("encoder", "fixture.hash_text")
        .factory()(dim=8, buckets=64, max_length=2, budget=99, seed=0)
    )
    torch.manual_seed(0)
    head = {"name": "heads.linear"}
    readout = Readout(dims={"x": 8}, fusion=None, head=head, targets={"t": TAGS})
    model = ProductModel({"text": encoder}, {"x": "text"}, readout)
    linear: Any = readout.heads["t"]
    with torch.no_grad():
        linear.network[1].weight.zero_()
        linear.network[1].bias.copy_(torch.tensor([0.0, 1.0, 0.0]))  # always B-x
    rows = [["a", "b", "c", "d"], ["a"]]
    feed = RowFeed({"x": rows}, {"x": encoder}, torch.device("cpu"))
    targets = torch.tensor([[1, 1, 1, 1], [1, -100, -100, -100]])
    for size in (1, 32):
        monkeypatch.setattr(module, "ROW_BATCH", size)
        scores = evaluate(model, feed, {"t": targets}, np.arange(2), accelerator=tiny.accelerator())
        assert scores.metrics["t"]["tag_accuracy"] == pytest.approx(3 / 5)
        assert scores.num_rows == 2


def test_figures_are_the_weighted_loss_and_every_metric() -> None:
    scores = module.Scores({"a": 1.0, "b": 2.0}, {"a": {"accuracy": 0.5}, "b": {"r2": 0.1}}, 3)
    found = figures(scores, {"a": 1.0, "b": 0.5})
    assert found == {"loss": 2.0, "a.accuracy": 0.5, "b.r2": 0.1}
    require_figure("b.r2", found)
    require_figure("train_loss", found)


def test_errors_are_better_when_lower_and_scores_when_higher() -> None:
    model = tiny.model(targets={"y": Target("regression")})
    for monitor, entries, wanted in (
        ("loss", (3.0, 1.0, 2.0), 2),
        ("y.mae", (3.0, 1.0, 2.0), 2),
        ("y.r2", (0.1, 0.3, 0.2), 2),
        ("y.pearson", (math.nan, 0.3, 0.4), 3),
    ):
        best = Best(model, monitor)
        for epoch, figure in enumerate(entries):
            best.look({"epoch": epoch + 1, monitor: figure})
        assert best.restore() == wanted


def test_records_hold_no_number_that_json_has_not() -> None:
    found = strict({"a": [1.5, math.nan], "b": {"c": math.inf}, "d": ("x", None, True, 3)})
    assert found == {"a": [1.5, None], "b": {"c": None}, "d": ["x", None, True, 3]}
    json.dumps(found, allow_nan=False)
