"""Cells trained: those that read the same features together, each ending with a model and its scores."""

import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa
import torch
from accelerate.utils import gather_object, set_seed
from torch import Tensor

from matrixhub.data.columns import present_rows, values
from matrixhub.data.splits import Splits
from matrixhub.data.store import StoredFeatures
from matrixhub.errors import DataError, MatrixHubError
from matrixhub.plan import Cell
from matrixhub.plan.cell import digest
from matrixhub.run.encode import takes_nulls
from matrixhub.run.evaluate import Scores, outputs_of, score
from matrixhub.run.feed import FeatureFeed, Feed, RowFeed
from matrixhub.run.layers import PartlyFrozen, cut, own_copy, with_whole_encoders
from matrixhub.run.loop import History, Task, checked_monitor, fit
from matrixhub.run.lora import adapted
from matrixhub.run.model import ProductModel, Readout, build
from matrixhub.run.session import Session
from matrixhub.run.stack import Member, fit_stack, is_stackable
from matrixhub.run.targets import Targets, fit_targets
from matrixhub.run.track import Watch

STANDARDIZE_ROWS = 4096
"""Training rows whose token features are looked at for mean and spread; pooled ones are all looked at."""


@dataclass(frozen=True, slots=True)
class Given:
    """What cells that train together read.

    Attributes:
        table: all rows.
        splits: which of them train, validate and test.
        split_key: of the split stage.
        features: stored features, or hidden states, by input name; empty where an encoder reads the rows.
    """

    table: pa.Table
    splits: Splits
    split_key: str
    features: Mapping[str, StoredFeatures]


@dataclass(slots=True)
class Trained:
    """A trained cell, before it is recorded.

    Attributes:
        model: with its best weights, in eval mode.
        targets: what its outputs learned.
        history: of its epochs.
        scores: on the test rows.
        outputs: over the test rows, by name.
        mask: (N, T) of words, if any.
        seconds: of training; cells that trained together share them.
        partners: products that it trained jointly with.
    """

    model: ProductModel
    targets: Targets
    history: History
    scores: Scores
    outputs: dict[str, Tensor] = field(default_factory=dict)
    mask: Tensor | None = None
    seconds: float = 0.0
    partners: Sequence[str] = ()


def together_key(cell: Cell, needs: Sequence[str]) -> str:
    """Equal for cells that train as one: same rows, features and architecture, or one joint group.

    Args:
        cell: with stored features, or with an encoder that trains, alone or with those of its joint group.
        needs: keys of the stages it reads.
    """
    trainer = cell.trainer
    if cell.training != "frozen":
        return cell.joint or cell.id
    # Members with seeds of their own read other rows at each step: too much memory, of token features.
    has_tokens = cell.level == "tokens" or bool(cell.whole)
    same = [trainer["batch_size"], trainer["monitor"], trainer.get("balance")]
    same += [trainer["seed"]] if has_tokens else []
    product = [cell.product["inputs"], cell.product["outputs"]]
    return digest([list(needs), product, cell.fusion, cell.head, same])


def train_cells(cells: Sequence[Cell], given: Given, session: Session) -> list[Trained | Exception]:
    """Train and score cells with one ``together_key``; one that fails alone has its error in its place.

    Raises:
        DataError, ConfigError: what is wrong with all of them.
    """
    splits = given.splits
    targets = fitted_targets(cells[0], given, session)
    feed, models = session.together(lambda: _build_all(cells, given, targets, session))
    task = task_of(cells[0], given, targets, feed)
    members = [Member(model, cell.trainer) for model, cell in zip(models, cells, strict=True)]
    watches = [Watch(cell, session, len(splits.train)) for cell in cells]
    started = time.perf_counter()
    _fit(members, task, watches, label=_label(cells), session=session)
    seconds = (time.perf_counter() - started) / len(cells)
    found = [_result(one, task, given, targets, session=session, seconds=seconds) for one in members]
    for watch, member, result in zip(watches, members, found, strict=True):
        watch.finish(member.history, result.scores.metrics if isinstance(result, Trained) else {})
    return found


def fitted_targets(cell: Cell, given: Given, session: Session) -> Targets:
    """What the outputs of a cell learn; a DataError says what is wrong with the rows, on all ranks."""
    if not len(given.splits.test):
        raise DataError("no row is left for test, and a product is scored on some: see product.split")
    inputs, outputs = cell.product["inputs"], cell.product["outputs"]
    return session.together(lambda: fit_targets(given.table, outputs, inputs, given.splits))


def task_of(cell: Cell, given: Given, targets: Targets, feed: Feed) -> Task:
    """What the model of a cell is trained and scored on."""
    weights = {name: output["weight"] for name, output in cell.product["outputs"].items()}
    return Task(feed, targets.encoded, weights, given.splits.train, given.splits.validation)


def _build_all(
    cells: Sequence[Cell], given: Given, targets: Targets, session: Session
) -> tuple[Feed, list[ProductModel]]:
    """Models with their initial weights, and what feeds them."""
    device, cell = session.accelerator.device, cells[0]
    modalities = {name: one["modality"] for name, one in cell.product["inputs"].items()}
    if cell.training != "frozen":
        feed, model = build_whole(cell, given, targets, session)
        return feed, [model]
    feed = FeatureFeed(given.features, device)
    dims = {name: stored.dim for name, stored in given.features.items()}
    has_tokens = not all(stored.pooled for stored in given.features.values())
    sample = given.splits.train[:STANDARDIZE_ROWS] if has_tokens else given.splits.train
    features = {name: feed.features(name, sample) for name in given.features}
    models = []
    for one in cells:
        set_seed(one.trainer["seed"] % 2**32)
        readout = _readout(one, dims, targets).to(device)
        readout.standardize(features)
        models.append(ProductModel({}, modalities, readout))
    return feed, models


def _readout(cell: Cell, dims: Mapping[str, int], targets: Targets) -> Readout:
    return Readout(
        dims=dims,
        fusion=cell.fusion,
        head=cell.head or {},
        targets=targets.specs,
        optional=[name for name, one in cell.product["inputs"].items() if one.get("optional")],
        balance=cell.trainer.get("balance", "fixed"),
    )


def _encoder(cell: Cell, options: Mapping[str, Any], session: Session) -> Any:
    """An encoder that trains the way of its cell."""
    if cell.training == "finetune":
        return build("encoder", options)
    frozen = session.encoder(options).module
    if cell.training == "lora":
        return adapted(frozen, cell.trainer["lora"])
    num_layers = cell.trainer["trainable_layers"]
    prefix, _ = cut(frozen, num_layers)
    return PartlyFrozen(own_copy(frozen, shared=prefix.parameters()), num_layers)


def build_whole(
    cell: Cell, given: Given, targets: Targets, session: Session, *, trunk: dict[str, Any] | None = None
) -> tuple[Feed, ProductModel]:
    """A model whose encoders train, copies of its own; those in ``trunk`` it shares, and adds its others."""
    modalities = {name: one["modality"] for name, one in cell.product["inputs"].items()}
    device, seed = session.accelerator.device, cell.trainer["seed"] % 2**32
    set_seed(seed)
    shared = {} if trunk is None else trunk
    for m, options in cell.encoder.items():
        if m not in shared:
            shared[m] = _encoder(cell, options, session)
    encoders = {m: shared[m] for m in cell.encoder}
    dims = {name: encoders[m].dim for name, m in modalities.items()}
    set_seed(seed)
    readout = _readout(cell, dims, targets).to(device)
    model = ProductModel(encoders, modalities, readout)
    if given.features:
        return FeatureFeed(given.features, device), model
    by_input, words = {name: encoders[m] for name, m in modalities.items()}, cell.level == "tokens"
    inputs, table = cell.product["inputs"], given.table
    found = {name: present_rows(table, one) for name, one in inputs.items()}
    present = {name: one for name, one in found.items() if one is not None}
    columns = {
        name: values(
            table,
            one["column"],
            words=words,
            nulls=takes_nulls(by_input[name]),
            present=present.get(name),
        )
        for name, one in inputs.items()
    }
    return RowFeed(columns, by_input, device, present=present), model


def _fit(
    members: Sequence[Member], task: Task, watches: Sequence[Watch], *, label: str, session: Session
) -> None:
    """As one stack where that can be, else one after the other; a member's own failure is its ``error``."""
    accelerator, trainer = session.accelerator, members[0].trainer
    most = max(member.trainer["epochs"] for member in members)
    num_steps = most * math.ceil(len(task.train) / trainer["batch_size"])
    if _all_agree(is_stackable(members[0].model, task, accelerator), session):
        monitor = checked_monitor(members[0].model, task, trainer["monitor"], accelerator)
        with session.progress(f"train {label}", num_steps, "steps") as advance:
            fit_stack(
                members,
                task,
                monitor=monitor,
                accelerator=accelerator,
                on_step=lambda step, loss: advance(1, loss),
            )
        return
    try:
        _fit_apart(members, task, watches, label=label, num_steps=num_steps, session=session)
    finally:
        # The accelerator holds on to what it prepared; the next cells need the room.
        accelerator.free_memory()


def _fit_apart(
    members: Sequence[Member],
    task: Task,
    watches: Sequence[Watch],
    *,
    label: str,
    num_steps: int,
    session: Session,
) -> None:
    with session.progress(f"train {label}", num_steps * len(members), "steps") as advance:
        for member, watch in zip(members, watches, strict=True):

            def on_step(step: int, loss: Tensor, watch: Watch = watch) -> None:
                advance(1, loss)
                if len(members) == 1:
                    watch.step(step, loss)

            try:
                member.history = fit(
                    member.model,
                    task,
                    trainer=member.trainer,
                    accelerator=session.accelerator,
                    on_step=on_step,
                    on_epoch=watch.epoch if len(members) == 1 else lambda entry: None,
                )
            except own_failures(session) as error:
                member.error = error


def _result(
    member: Member, task: Task, given: Given, targets: Targets, *, session: Session, seconds: float
) -> Trained | Exception:
    if member.error:
        return member.error
    try:
        return scored(member, task, given, targets, session=session, seconds=seconds)
    except own_failures(session) as error:
        return error


def scored(
    member: Member, task: Task, given: Given, targets: Targets, *, session: Session, seconds: float
) -> Trained:
    """A model that has been trained, with its scores on the test rows."""
    test = given.splits.test
    outputs, mask = outputs_of(member.model, task.feed, test, accelerator=session.accelerator)
    index = torch.from_numpy(test)
    wanted = {name: targets.encoded[name][index] for name in outputs}
    return Trained(
        model=with_whole_encoders(member.model),
        targets=targets,
        history=member.history,
        scores=score(member.model.readout, outputs, mask, wanted),
        outputs=outputs,
        mask=mask,
        seconds=seconds,
    )


def own_failures(session: Session) -> tuple[type[Exception], ...]:
    """What costs one cell and no other: on one process anything, on ranks what all of them have heard of."""
    return (Exception,) if session.accelerator.num_processes == 1 else (MatrixHubError,)


def _all_agree(mine: bool, session: Session) -> bool:
    return all(gather_object([mine])) if session.accelerator.num_processes > 1 else mine


def _label(cells: Sequence[Cell]) -> str:
    return cells[0].name if len(cells) == 1 else f"{len(cells)} heads of {cells[0].name}"
