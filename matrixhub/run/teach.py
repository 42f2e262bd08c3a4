"""What writes a cell's answers, made and, where it is to be, trained on right ones."""

import math
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from accelerate.utils import set_seed

from matrixhub.plan import Cell
from matrixhub.run.feed import FeatureFeed, Rows
from matrixhub.run.generate import answers_of, prompts_of
from matrixhub.run.loop import History, Task, fit
from matrixhub.run.lora import adapted
from matrixhub.run.model import build
from matrixhub.run.session import Session
from matrixhub.run.track import Watch
from matrixhub.run.train import Given
from matrixhub.run.writer import Writer, WriterFeed, bridge_for, by_likelihood


@dataclass(frozen=True, slots=True)
class Taught:
    """A writer in eval mode, and how it came to be.

    Attributes:
        writer: without encoders; what makes its prefix is fed by ``feed``.
        feed: over all rows.
        history: of its training; empty where nothing was trained.
        seconds: of training.
        watch: who is told the end; None where nothing was trained.
    """

    writer: Writer
    feed: WriterFeed
    history: History
    seconds: float = 0.0
    watch: Watch | None = None


def taught(cell: Cell, given: Given, session: Session) -> Taught:
    """The writer of a cell.

    Raises:
        DataError: a value of a row cannot be used; names the row.
        ConfigError, NonFiniteError, TrainingError: as ``fit``.
        PluginError: the generator or the fusion is not what it is registered to be.
    """
    feed = session.together(lambda: _feed(cell, given, session))
    writer = session.together(lambda: _writer(cell, feed, session))
    if not cell.trainer:
        return Taught(writer.eval(), feed, History())
    splits, outputs = given.splits, cell.product["outputs"]
    task = Task(
        feed,
        {name: torch.zeros(given.table.num_rows) for name in outputs},
        {name: output["weight"] for name, output in outputs.items()},
        splits.train,
        splits.validation,
    )
    watch = Watch(cell, session, len(splits.train))
    num_steps = cell.trainer["epochs"] * math.ceil(len(splits.train) / cell.trainer["batch_size"])
    started = time.perf_counter()
    with session.progress(f"train {cell.name}", num_steps, "steps") as advance, _freed(session):

        def on_step(step: int, loss: torch.Tensor) -> None:
            advance(1, loss)
            watch.step(step, loss)

        history = fit(
            writer,
            task,
            trainer=cell.trainer,
            accelerator=session.accelerator,
            on_step=on_step,
            on_epoch=watch.epoch,
        )
    return Taught(writer, feed, history, time.perf_counter() - started, watch)


def used_rows(cell: Cell, given: Given) -> Rows:
    """Rows whose answers must be right: those it is scored on, and those it learns from."""
    splits = given.splits
    parts = [splits.train, splits.validation, splits.test] if cell.trainer else [splits.test]
    return np.sort(np.concatenate(parts))


def _feed(cell: Cell, given: Given, session: Session) -> WriterFeed:
    rows, product = used_rows(cell, given), cell.product
    right = answers_of(given.table, product["outputs"], rows)
    prompts = {name: prompts_of(given.table, product, name, rows) for name in right}
    total = given.table.num_rows
    return WriterFeed(
        {name: _spread(texts, rows, total) for name, texts in prompts.items()},
        {name: _spread(texts, rows, total) for name, texts in right.items()},
        FeatureFeed(given.features, session.accelerator.device),
    )


def _spread(texts: list[str], rows: Rows, total: int) -> list[str]:
    """Over all rows of the table."""
    known: Mapping[int, str] = dict(zip(rows.tolist(), texts, strict=True))
    return [known.get(row, "") for row in range(total)]


def _writer(cell: Cell, feed: WriterFeed, session: Session) -> Writer:
    seed = cell.trainer.get("seed", 0) % 2**32
    set_seed(seed)
    generator = _generator(cell, session)
    dims = {name: stored.dim for name, stored in feed.features.stored.items()}
    set_seed(seed)
    bridge = bridge_for(
        generator,
        cell.fusion,
        dims,
        product=cell.product,
        learns=bool(cell.trainer or by_likelihood(cell.product["outputs"])),
    )
    return Writer(generator, bridge.to(session.accelerator.device))


def _generator(cell: Cell, session: Session) -> Any:
    """Trained the way of its cell."""
    options = cell.generator or {}
    training = cell.training if cell.trainer else "frozen"
    if training == "finetune":
        return build("generator", options).to(session.accelerator.device)
    frozen = session.generator(options)
    return adapted(frozen, cell.trainer["lora"]) if training == "lora" else frozen


@contextmanager
def _freed(session: Session) -> Iterator[None]:
    # The accelerator holds on to what it prepared; what comes next needs the room.
    try:
        yield
    finally:
        session.accelerator.free_memory()
