"""Cells of one joint group, from their rows to trained models: they succeed together, or fail together."""

import contextlib
import math
import time
from collections.abc import Iterator, Sequence
from typing import Any

from matrixhub.errors import TrainingError
from matrixhub.plan import Cell
from matrixhub.run.feed import Feed
from matrixhub.run.joint_loop import fit_jointly
from matrixhub.run.loop import Task
from matrixhub.run.model import ProductModel
from matrixhub.run.session import Session
from matrixhub.run.stack import Member
from matrixhub.run.targets import Targets
from matrixhub.run.track import Watch
from matrixhub.run.train import Given, Trained, build_whole, fitted_targets, own_failures, scored, task_of


def train_jointly(cells: Sequence[Cell], given: Sequence[Given], session: Session) -> list[Trained]:
    """Train and score products on one trunk.

    Args:
        cells: of one group.
        given: what each of them reads.
        session: of this process.

    Raises:
        TrainingError: one of them failed, and all with it; names the product.
    """
    trunk: dict[str, Any] = {}
    targets: list[Targets] = []
    models: list[ProductModel] = []
    tasks: list[Task] = []
    for cell, one in zip(cells, given, strict=True):
        with blamed(cell, session):
            found = fitted_targets(cell, one, session)
            feed, model = _built(cell, one, found, trunk, session=session)
            targets.append(found)
            models.append(model)
            tasks.append(task_of(cell, one, found, feed))
    members = [Member(model, cell.trainer) for model, cell in zip(models, cells, strict=True)]
    started = time.perf_counter()
    _fit(cells, members, tasks, session)
    seconds = (time.perf_counter() - started) / len(cells)
    names = [str(cell.product["name"]) for cell in cells]
    results = []
    for place, (cell, member, task) in enumerate(zip(cells, members, tasks, strict=True)):
        with blamed(cell, session):
            facts = (member, task, given[place], targets[place])
            trained = scored(*facts, session=session, seconds=seconds)
        trained.partners = [*names[:place], *names[place + 1 :]]
        Watch(cell, session, len(task.train)).finish(member.history, trained.scores.metrics)
        results.append(trained)
    return results


@contextlib.contextmanager
def blamed(cell: Cell, session: Session) -> Iterator[None]:
    """Errors inside name the product, for its partners fail with it."""
    try:
        yield
    except own_failures(session) as error:
        raise shared_failure(cell, error) from error


def shared_failure(cell: Cell, error: Exception) -> TrainingError:
    """What all cells of a group fail with when this one does."""
    told = f"{error}" if hasattr(error, "exit_code") else f"{type(error).__name__}: {error}"
    failure = TrainingError(f"In joint training, product '{cell.product['name']}' failed: {told}")
    failure.exit_code = getattr(error, "exit_code", failure.exit_code)
    failure.__cause__ = error
    return failure


def _built(
    cell: Cell, given: Given, targets: Targets, trunk: dict[str, Any], *, session: Session
) -> tuple[Feed, ProductModel]:
    return session.together(lambda: build_whole(cell, given, targets, session, trunk=trunk))


def _fit(cells: Sequence[Cell], members: Sequence[Member], tasks: Sequence[Task], session: Session) -> None:
    trainer = cells[0].trainer
    steps = sum(math.ceil(len(task.train) / trainer["batch_size"]) for task in tasks)
    label = " and ".join(cell.name for cell in cells)
    try:
        with session.progress(f"train {label}", steps * trainer["epochs"], "steps") as advance:
            histories = fit_jointly(
                [member.model for member in members],
                tasks,
                trainer=trainer,
                accelerator=session.accelerator,
                named=lambda place: blamed(cells[place], session),
                on_step=lambda loss: advance(1, loss),
            )
    finally:
        session.accelerator.free_memory()
    for member, history in zip(members, histories, strict=True):
        member.history = history
