"""Jobs to a plan: equal cells merged, impossible ones refused with their reasons, stages shared."""

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

from matrixhub.config.compose import Job
from matrixhub.errors import ConfigError, MatrixHubError
from matrixhub.plan.cell import Cell, components, resolve
from matrixhub.plan.check import encode_objections, launch_objections, objections
from matrixhub.plan.history import FROM_RUN, Record
from matrixhub.plan.identity import Look, Options, unseen
from matrixhub.plan.joint import Settled, joined
from matrixhub.plan.share import Stage, share
from matrixhub.plugins import Hub

NOTHING: Mapping[str, Record] = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class Refusal:
    """A cell that cannot run."""

    name: str
    overrides: tuple[str, ...]
    reasons: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Plan:
    """Everything one run does, as data.

    Attributes:
        cells: by id, in the order they were asked for.
        stages: in the order they run; none that only cells that are done need.
        done: ids of cells that an earlier run has finished, and the name of that run's folder.
        refused: cells that cannot run, with reasons.
        merged: how many jobs were equal to an earlier one.
        seconds: what stages will take, by key, where earlier runs tell; see ``cost``.
        launch, encode: as in ``LaunchConfig`` and ``EncodeConfig``.
        callbacks: component options of who watches, in order.
        output_dir, cache_dir, cache_limit_gb: as in ``RootConfig``.
    """

    cells: dict[str, Cell]
    stages: list[Stage]
    done: dict[str, str] = field(default_factory=dict)
    refused: list[Refusal] = field(default_factory=list)
    merged: int = 0
    seconds: dict[str, float] = field(default_factory=dict)
    launch: dict[str, Any] = field(default_factory=dict)
    encode: dict[str, Any] = field(default_factory=dict)
    callbacks: list[Options] = field(default_factory=list)
    output_dir: str = "runs"
    cache_dir: str | None = None
    cache_limit_gb: float | None = None

    def then(self, later: "Plan") -> "Plan":
        """This plan and the next batch's: all cells, and the stages of both, each once."""
        stages = {stage.key: stage for stage in self.stages}
        for stage in later.stages:
            before = stages[stage.key].cells if stage.key in stages else ()
            served = tuple(dict.fromkeys((*before, *stage.cells)))
            stages[stage.key] = dataclasses.replace(stage, cells=served)
        return dataclasses.replace(
            later,
            cells=self.cells | later.cells,
            stages=list(stages.values()),
            done=self.done | {cell: run for cell, run in later.done.items() if cell not in self.cells},
            refused=[*self.refused, *later.refused],
            merged=self.merged + later.merged,
            seconds=self.seconds | later.seconds,
        )

    def to_dict(self) -> dict[str, Any]:
        return {
            "cells": [cell.to_dict() for cell in self.cells.values()],
            "stages": [stage.to_dict() for stage in self.stages],
            "done": self.done,
            "refused": [dataclasses.asdict(refusal) for refusal in self.refused],
            "merged": self.merged,
            "seconds": self.seconds,
            "launch": self.launch,
            "encode": self.encode,
            "callbacks": self.callbacks,
            "output_dir": self.output_dir,
            "cache_dir": self.cache_dir,
            "cache_limit_gb": self.cache_limit_gb,
        }

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> "Plan":
        cells = [Cell.from_dict(cell) for cell in data["cells"]]
        return cls(
            cells={cell.id: cell for cell in cells},
            stages=[Stage.from_dict(stage) for stage in data["stages"]],
            done=dict(data["done"]),
            refused=[Refusal(r["name"], tuple(r["overrides"]), tuple(r["reasons"])) for r in data["refused"]],
            merged=data["merged"],
            seconds=dict(data["seconds"]),
            launch=dict(data["launch"]),
            encode=dict(data["encode"]),
            callbacks=list(data.get("callbacks", ())),
            output_dir=data["output_dir"],
            cache_dir=data["cache_dir"],
            cache_limit_gb=data["cache_limit_gb"],
        )


def make_plan(
    jobs: Sequence[Job], hub: Hub, *, look: Look = unseen, earlier: Mapping[str, Record] = NOTHING
) -> Plan:
    """Plan all jobs of a sweep as one graph.

    Args:
        jobs: what was asked for.
        hub: the components.
        look: tells what a component depends on beside its options.
        earlier: records of finished cells by id; these cells need no stages.

    Raises:
        ConfigError: no job can run, or the jobs disagree on where to run.
    """
    cells: dict[str, Cell] = {}
    refused: list[Refusal] = []
    settled = _settled(jobs, hub, look)
    for one in settled:
        if one.reasons or one.cell is None:
            name = one.cell.name if one.cell else one.product
            refused.append(Refusal(name, one.job.overrides, one.reasons))
        else:
            cells.setdefault(one.cell.id, one.cell)
    if not cells:
        if len(jobs) == 1 and settled[0].error:
            raise settled[0].error
        raise ConfigError(_all_refused(refused))
    config = jobs[0].config
    # Of those that train jointly, all are done or all are to do.
    again = {cell.joint for cell in cells.values() if cell.joint and cell.id not in earlier}
    known = [cell.id for cell in cells.values() if cell.id in earlier and cell.joint not in again]
    done = {cell: str(earlier[cell][FROM_RUN]) for cell in known}
    return Plan(
        cells=cells,
        stages=share(cell for cell in cells.values() if cell.id not in done),
        done=done,
        refused=refused,
        merged=len(jobs) - len(cells) - len(refused),
        launch=_same_for_all(jobs, "launch", launch_objections),
        encode=_same_for_all(jobs, "encode", encode_objections),
        callbacks=components(hub, "callback", _same_for_all(jobs, "callback"), "callback"),
        output_dir=config["output_dir"],
        cache_dir=config["cache_dir"],
        cache_limit_gb=config["cache_limit_gb"],
    )


def cell_ids(jobs: Sequence[Job], hub: Hub, look: Look = unseen) -> list[str]:
    """The cell of each job; empty for one that cannot run."""
    settled = _settled(jobs, hub, look)
    return [one.cell.id if one.cell and not one.reasons else "" for one in settled]


def _settled(jobs: Sequence[Job], hub: Hub, look: Look) -> list[Settled]:
    """Each job as a cell, or the reasons why it is none."""

    def alone(job: Job) -> Settled:
        try:
            cell = resolve(job, hub, look)
        except MatrixHubError as error:
            return Settled(job, None, (str(error),), error)
        return Settled(job, cell, tuple(objections(cell, hub)))

    return joined([alone(job) for job in jobs])


def _same_for_all(
    jobs: Sequence[Job], node: str, objections: Callable[[dict[str, Any]], list[str]] = lambda found: []
) -> dict[str, Any]:
    """A part of the config that a whole plan shares."""
    found = [job.config[node] for job in jobs]
    if any(list(one.items()) != list(found[0].items()) for one in found):
        raise ConfigError(f"One {node} serves a whole plan: {node}.* cannot be swept over.")
    if wrong := objections(found[0]):
        raise ConfigError(" ".join(wrong))
    return dict(found[0])


def _all_refused(refused: Sequence[Refusal]) -> str:
    reasons = dict.fromkeys(f"{refusal.name}: {' '.join(refusal.reasons)}" for refusal in refused)
    return "\n".join(reasons) if len(reasons) > 1 else " ".join(refused[0].reasons)
