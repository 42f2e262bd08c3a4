"""Products that train jointly on one trunk: which cells of a sweep these are, and their ids."""

import dataclasses
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from matrixhub.config.compose import Job
from matrixhub.errors import MatrixHubError
from matrixhub.plan.cell import Cell, digest, narrowed_trainer, way_of_training


@dataclass(frozen=True, slots=True)
class Settled:
    """What became of a job.

    Attributes:
        job: as it was asked for.
        cell: None where it cannot be resolved.
        reasons: why it cannot run; none when it can.
        error: that resolving it raised.
    """

    job: Job
    cell: Cell | None
    reasons: tuple[str, ...] = ()
    error: MatrixHubError | None = None

    @property
    def product(self) -> str:
        """Its name, as far as it has one."""
        return str(self.job.config["product"].get("name", "?"))


def joined(settled: Sequence[Settled]) -> list[Settled]:
    """The same jobs, those with ``trainer.joint`` put into groups: all cells of one run, or none does.

    Jobs that agree in encoders, fusion, head and trainer form a group. A cell of a group has an id of its
    own: with other partners it is another cell.
    """
    groups: dict[str, list[int]] = {}
    for place, one in enumerate(settled):
        if one.job.config["trainer"].get("joint") is not None:
            groups.setdefault(_key(one.job), []).append(place)
    found = list(settled)
    for places in groups.values():
        members = _group([settled[place] for place in places])
        for place, member in zip(places, members, strict=True):
            found[place] = member
    return found


def partners(cell: Cell, cells: Iterable[Cell]) -> list[str]:
    """Products that train jointly with a cell, by name; none where it trains alone."""
    return [one.product["name"] for one in cells if cell.joint and one.joint == cell.joint and one != cell]


def _key(job: Job) -> str:
    """Of the config as it was asked for: a product of one input has no fusion, and joins one that has."""
    config = job.config
    parts = [config.get(part) for part in ("encoder", "fusion", "head", "baseline")]
    return digest([*parts, narrowed_trainer(config["trainer"])])


def _group(members: Sequence[Settled]) -> list[Settled]:
    members = [dataclasses.replace(one, reasons=(*one.reasons, *_alone(one))) for one in members]
    if refused := next((one for one in members if one.reasons), None):
        told = f"It is to train jointly with '{refused.product}', which is refused."
        return [one if one.reasons else dataclasses.replace(one, reasons=(told,)) for one in members]
    cells = {one.cell.id: one.cell for one in members if one.cell}
    if reasons := tuple(_together(list(cells.values()))):
        return [dataclasses.replace(one, reasons=reasons) for one in members]
    key = digest(sorted(cells))
    named = {own: dataclasses.replace(cell, id=digest([own, key]), joint=key) for own, cell in cells.items()}
    return [dataclasses.replace(one, cell=named[one.cell.id]) for one in members if one.cell]


def _alone(member: Settled) -> Iterator[str]:
    """Why a cell cannot train jointly with any other."""
    if member.cell is None:
        return
    way = way_of_training(member.job.config["trainer"])
    if member.cell.generator:
        yield "trainer.joint is for heads on a shared encoder: a generator trains alone."
    elif way == "frozen":
        yield (
            "trainer.joint: under frozen encoders nothing that products share would train. "
            "Take trainer=finetune or trainer=lora, or leave trainer.joint out."
        )
    elif way == "partial":
        yield "trainer.joint does not go with trainer=partial: take trainer=finetune or trainer=lora."


def _together(cells: Sequence[Cell]) -> Iterator[str]:
    """Why these cells cannot train jointly."""
    names = Counter(cell.product["name"] for cell in cells)
    if len(cells) == 1:
        (name,) = names
        yield (
            f"trainer.joint={cells[0].trainer['joint']}: '{name}' has no other product to train with. "
            f"Name some, as in -m product={name},OTHER, or leave trainer.joint out."
        )
        return
    for name in (name for name, count in names.items() if count > 1):
        yield (
            f"trainer.joint: {names[name]} cells of product '{name}' would train jointly, which differ in "
            "the product's own options. Sweep over these in runs of their own."
        )
    shared = Counter(modality for cell in cells for modality in cell.encoder)
    for cell in cells:
        if all(shared[modality] == 1 for modality in cell.encoder):
            name, read = cell.product["name"], ", ".join(cell.encoder)
            yield f"trainer.joint: '{name}' reads {read}, and no other product in its group does."
