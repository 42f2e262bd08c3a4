"""What a record says beside scores, on models whose answers are known."""

import json
from typing import Any

import numpy as np
import pyarrow as pa
import torch
from torch import Tensor

from matrixhub.data.splits import Splits
from matrixhub.plan import Cell
from matrixhub.plugins import hub
from matrixhub.run.details import MOST_CLASSES, OTHERS, confusion, details
from matrixhub.run.mistakes import MOST_CHARACTERS, preview
from matrixhub.run.model import ProductModel, Readout
from matrixhub.run.price import Latencies
from matrixhub.run.targets import Targets
from matrixhub.types import Target
from tests.unit.run.tiny import CLASSES, texts

WORDS = {"name": "fixture.hash_text", "dim": 8, "buckets": 64, "max_length": 8, "budget": 64, "seed": 0}
HEAD = {"name": "heads.linear"}
TAGS = Target("token_classification", ("O", "B-x"))


def cell(task: str = "classification", column: Any = "text") -> Cell:
    return Cell(
        id="0" * 16, name="tiny",
        product={
            "name": "tiny", "inputs": {"text": {"column": column, "modality": "text"}},
            "outputs": {"y": {"task": task, "target": "y"}},
        },
        source={"name": "none"}, encoder={"text": WORDS}, fusion=None, head=HEAD, trainer={}, baseline=False,
        choices={}, overrides=(), distributions={},
    )  # fmt: skip


def found(outputs: Tensor, targets: Tensor, spec: Target, **changes: Any) -> dict[str, Any]:
    """Details of a product whose last rows are the test rows."""
    rows = changes.pop("texts", texts(len(targets)))
    encoder = (
        hub()
        .component("encoder", "fixture.hash_text")
        .factory()(**{k: v for k, v in WORDS.items() if k != "name"})
    )
    encoder.requires_grad_(False)
    model = ProductModel(
        {"text": encoder},
        {"text": "text"},
        Readout(dims={"text": 8}, fusion=None, head=HEAD, targets={"y": spec}),
    )
    first = len(targets) - len(outputs)
    nothing = np.array([], dtype=np.int64)
    given: dict[str, Any] = {
        "model": model,
        "outputs": {"y": outputs},
        "mask": None,
        "targets": Targets({"y": spec}, {"y": targets}),
        "table": pa.table({"text": rows}),
        "splits": Splits(np.arange(first), nothing, np.arange(first, len(targets))),
        "latencies": {},
    }
    return details(cell(spec.task), **{**given, **changes})


def test_a_classification_is_told_in_full() -> None:
    targets = torch.tensor([0, 1] * 20 + [2, 2, 0, 1])
    outputs = torch.zeros(4, 3)
    outputs[0, 2], outputs[1, 0], outputs[2, 0], outputs[3, 2] = 3.0, 1.0, 4.0, 2.0
    record = found(outputs, targets, CLASSES)
    told = record["outputs"]["y"]
    assert told["confusion"] == {"classes": ["a", "b", "c"], "counts": [[1, 0, 0], [0, 0, 1], [1, 0, 1]]}
    assert told["num_wrong"] == 2
    surest, other = told["errors"]
    assert (surest["row"], surest["truth"], surest["answer"]) == (44, "b", "c")
    assert (other["row"], other["truth"], other["answer"]) == (42, "c", "a")
    assert surest["score"] > other["score"]
    assert surest["input"] == {"text": texts(44)[43]}
    low, high = told["interval"]
    assert 0 < low < 0.5 < high < 1
    assert record["parameters"] == {"encoder": 64 * 8, "head": 8 * 3 + 3, "trained": 8 * 3 + 3}
    json.dumps(record, allow_nan=False)


def test_numbers_are_ordered_by_their_distance() -> None:
    targets = torch.arange(30.0)
    outputs = targets.clone()
    outputs[7] += 5
    outputs[3] -= 2
    told = found(outputs, targets, Target("regression", std=9.0))["outputs"]["y"]
    assert [(e["row"], e["truth"], e["answer"]) for e in told["errors"]] == [(8, 7.0, 12.0), (4, 3.0, 1.0)]
    assert told["num_wrong"] is None and told["confusion"] is None
    assert told["interval"][0] < told["interval"][1] <= 1


def test_labels_of_a_row_are_told_as_lists() -> None:
    targets = torch.tensor([[1.0, 0.0], [0.0, 1.0], [1.0, 1.0]])
    outputs = torch.tensor([[2.0, -2.0], [2.0, 2.0], [-5.0, -5.0]])
    told = found(outputs, targets, Target("multilabel", ("a", "b")))["outputs"]["y"]
    assert [(e["row"], e["truth"], e["answer"]) for e in told["errors"]] == [
        (3, ["a", "b"], []),
        (2, ["b"], ["a", "b"]),
    ]
    assert told["interval"] is None, "three rows say too little"


def test_of_tags_those_that_differ_are_told() -> None:
    targets = torch.tensor([[0, 1, -100], [0, 0, 1], [1, 0, 0]])
    outputs = torch.nn.functional.one_hot(torch.tensor([[0, 1, 0], [0, 1, 1], [1, 0, 0]]), 2).float() * 3
    rows = ["Ann left", "in 北京 now", "Bo left home"]
    told = found(outputs, targets, TAGS, mask=targets != -100, texts=rows)["outputs"]["y"]
    (only,) = told["errors"]
    assert (only["row"], only["truth"], only["answer"]) == (2, ["北京: O"], ["北京: B-x"])
    assert only["input"] == {"text": "in 北京 now"}
    assert told["confusion"]["counts"] == [[4, 1], [0, 3]]


def test_an_encoder_is_timed_once_a_run() -> None:
    latencies: Latencies = {}
    targets = torch.tensor([0, 1, 2, 0])
    first = found(torch.eye(3)[targets], targets, CLASSES, latencies=latencies)
    (kept,) = latencies.values()
    again = found(torch.eye(3)[targets], targets, CLASSES, latencies=latencies)
    assert list(latencies.values()) == [kept]
    assert min(first["latency_ms"], again["latency_ms"]) > kept[0] > 0
    assert first["outputs"]["y"]["errors"] == []


def test_a_confusion_of_many_classes_keeps_the_frequent_ones() -> None:
    names = tuple(f"c{i:02}" for i in range(MOST_CLASSES + 10))
    targets = torch.cat([torch.arange(len(names)), torch.arange(10, len(names))])
    told = confusion(torch.eye(len(names))[targets], targets, Target("classification", names))
    assert told is not None
    assert told["classes"] == [*names[10:], OTHERS]
    assert told["counts"][0][0] == 2 and told["counts"][-1][-1] == 10
    assert sum(map(sum, told["counts"])) == len(targets)


def test_previews_are_short_and_say_where_an_image_is() -> None:
    assert preview("a\n b\t c", "text") == "a b c"
    assert preview(("one", "two"), "text") == "one | two"
    assert preview(["New", "York"], "text") == "New York"
    long = preview("字" * 100_000, "text")
    assert len(long) == MOST_CHARACTERS and long.endswith("…")
    assert preview({"bytes": b"...", "path": "a/b.png"}, "image") == "a/b.png"
    assert preview({"bytes": b"...", "path": None}, "image") == "image"
    assert preview("/data/of/mine/photos/cats/b.png", "image") == "…/photos/cats/b.png"
    assert preview("/" + "x" * 300 + "/b.png", "image").endswith("xx/b.png")
    assert preview(b"\x00", "image") == "image"
