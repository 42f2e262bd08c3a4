"""A product small enough to train in a blink: seeded words or features, three classes."""

from collections.abc import Collection, Mapping
from typing import Any

import numpy as np
import torch
from accelerate import Accelerator
from accelerate.state import AcceleratorState
from torch import Tensor

from matrixhub.data.store import StoredFeatures
from matrixhub.plugins import hub
from matrixhub.run.feed import FeatureFeed, RowFeed
from matrixhub.run.loop import Task
from matrixhub.run.model import ProductModel, Readout
from matrixhub.types import Target

ROWS, DIM = 60, 8
CLASSES = Target("classification", ("a", "b", "c"))
TRAINER: dict[str, Any] = {
    "train_encoder": False, "epochs": 3, "batch_size": 16, "accumulation": 1, "lr": 1e-2,
    "encoder_lr": None, "weight_decay": 0.01, "schedule": "cosine", "warmup": 0.1, "clip": 1.0,
    "monitor": "loss", "patience": None, "seed": 0, "group_by_length": False,
}  # fmt: skip


JOINT: dict[str, Any] = {
    **TRAINER,
    "joint": "proportional",
    "joint_temperature": 2.0,
    "schedule": "constant",
}


def accelerator(mixed_precision: str = "no") -> Accelerator:
    AcceleratorState._reset_state()
    return Accelerator(cpu=True, mixed_precision=mixed_precision)


def features(num_rows: int = ROWS, *, seed: int = 0) -> StoredFeatures:
    """Seeded pooled features; the class of a row is where its first three numbers are largest."""
    data = np.random.default_rng(seed).normal(size=(num_rows, DIM)).astype(np.float32)
    spans = np.stack([np.arange(num_rows), np.ones(num_rows, dtype=np.int64)], axis=1)
    return StoredFeatures(data, spans, np.zeros(num_rows, dtype=bool), pooled=True)


def labels(stored: StoredFeatures) -> Tensor:
    return torch.from_numpy(stored.data[:, :3].argmax(axis=1)).long()


def task(**changes: Any) -> Task:
    stored = features()
    given: dict[str, Any] = {
        "feed": FeatureFeed({"x": stored}, torch.device("cpu")),
        "targets": {"y": labels(stored)},
        "weights": {"y": 1.0},
        "train": np.arange(44),
        "validation": np.arange(44, 60),
    }
    return Task(**{**given, **changes})


def model(
    *,
    head: Mapping[str, Any] | None = None,
    targets: Mapping[str, Target] | None = None,
    optional: Collection[str] = (),
) -> ProductModel:
    torch.manual_seed(0)
    readout = Readout(
        dims={"x": DIM},
        fusion=None,
        head={"name": "heads.linear", "label_smoothing": 0.0, **(head or {})},
        targets=targets or {"y": CLASSES},
        optional=optional,
    )
    return ProductModel({}, {"x": "text"}, readout)


def texts(num_rows: int = ROWS) -> list[str]:
    """Rows that name the index of their class."""
    rng = np.random.default_rng(0)
    return [f"row {i} of class {c}" for i, c in enumerate(rng.integers(0, 3, num_rows))]


def text_model(rows: list[str] | None = None) -> tuple[ProductModel, Task]:
    """An encoder that trains, with a feed of raw rows."""
    component = hub().component("encoder", "fixture.hash_text")
    encoder = component.factory()(dim=DIM, buckets=128, max_length=8, budget=512, seed=0)
    plain = model()
    rows = rows or texts()
    feed = RowFeed({"x": rows}, {"x": encoder}, torch.device("cpu"))
    targets = torch.tensor([int(text[-1]) for text in texts()])
    return ProductModel({"text": encoder}, {"x": "text"}, plain.readout), task(
        feed=feed, targets={"y": targets}
    )


def text_products(*, balance: str = "fixed") -> tuple[list[ProductModel], list[Task]]:
    """Classes, and a number of a third as many batches, over the same texts and one encoder."""
    classes, given = text_model()
    torch.manual_seed(1)
    readout = Readout(
        dims={"x": DIM},
        fusion=None,
        head={"name": "heads.linear", "label_smoothing": 0.0},
        targets={"n": Target("regression")},
        balance=balance,
    )
    number = ProductModel(dict(classes.encoders.items()), {"x": "text"}, readout)
    numbers = task(
        feed=given.feed, targets={"n": given.targets["y"].float()}, weights={"n": 1.0}, train=given.train[:16]
    )
    return [classes, number], [given, numbers]


def mixed_model() -> tuple[ProductModel, Task]:
    """The same with rows of one to four words more."""
    return text_model([f"{text}{' more' * (i % 5)}" for i, text in enumerate(texts())])


def weights(module: torch.nn.Module) -> dict[str, Tensor]:
    return {name: tensor.detach().clone() for name, tensor in module.state_dict().items()}


def apart(one: Mapping[str, Tensor], other: Mapping[str, Tensor]) -> float:
    """The largest difference between two sets of weights."""
    assert one.keys() == other.keys()
    return max(float((one[name] - other[name]).abs().max()) for name in one)
