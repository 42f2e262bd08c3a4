"""Cells cut into stages; what two cells share becomes one stage, found by content."""

import dataclasses
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from matrixhub.plan.cell import Cell, digest

KINDS = ("load", "split", "encode", "train", "generate")

PARTIAL = ("trainable_layers", "layers_budget_gb")
"""What a trainer says of the hidden states that it needs."""


@dataclass(frozen=True, slots=True)
class Stage:
    """A piece of work, done once for all cells that need it.

    Attributes:
        kind: one of ``KINDS``, in the order they run.
        key: hash of ``spec`` and of the stages it needs.
        label: for people.
        spec: all that it takes to do it.
        needs: keys of the stages it reads.
        cells: ids of the cells it serves.
    """

    kind: str
    key: str
    label: str
    spec: dict[str, Any]
    needs: tuple[str, ...] = ()
    cells: tuple[str, ...] = ()

    @property
    def cell(self) -> str | None:
        """Id of the cell that ends here, with a record; None where others read what it gives."""
        return self.spec.get("cell")

    def to_dict(self) -> dict[str, Any]:
        return dataclasses.asdict(self)

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> "Stage":
        return cls(**{**data, "needs": tuple(data["needs"]), "cells": tuple(data["cells"])})


def share(cells: Iterable[Cell]) -> list[Stage]:
    """The stages of all cells, each once, every stage after those it needs."""
    merged: dict[str, Stage] = {}
    for cell in cells:
        for stage in _stages(cell):
            known = merged.get(stage.key)
            served = (*known.cells, *stage.cells) if known else stage.cells
            merged[stage.key] = dataclasses.replace(stage, cells=tuple(dict.fromkeys(served)))
    generators = list(dict.fromkeys(digest(stage.spec.get("generator")) for stage in merged.values()))
    # Cells of one generator follow each other, so that it is loaded once. Features with tokens come before
    # pooled ones, which are the first of them and found there.
    return sorted(
        merged.values(),
        key=lambda stage: (
            KINDS.index(stage.kind),
            stage.spec.get("level") != "both",
            generators.index(digest(stage.spec.get("generator"))),
        ),
    )


def _stages(cell: Cell) -> list[Stage]:
    product = cell.product
    load = _stage(cell, "load", _rows(cell), {"source": cell.source, "transform": cell.transform})
    columns = {name: i["column"] for name, i in product["inputs"].items()}
    split_spec = {
        "columns": columns,
        "target": next(iter(product["outputs"].values()))["target"],
        "split": product["split"],
        # Of a generator that nothing trains, no other rows are used.
        "test_only": not cell.trainer,
    }
    split = _stage(cell, "split", f"{cell.source['name']} rows", split_spec, load)
    if cell.generator:
        encodes = _encodes(cell, load)
        spec = {"cell": cell.id, "generator": cell.generator}
        return [load, split, *encodes, _stage(cell, "generate", cell.name, spec, load, split, *encodes)]
    encodes = _encodes(cell, load) if cell.training in ("frozen", "partial") else []
    train = _stage(cell, "train", cell.name, {"cell": cell.id}, load, split, *encodes)
    return [load, split, *encodes, train]


def _rows(cell: Cell) -> str:
    """Where rows come from and what they go through."""
    through = ", ".join(str(one["name"]) for one in cell.transform)
    return f"{cell.source['name']}{f' through {through}' if through else ''}"


def _encodes(cell: Cell, load: Stage) -> list[Stage]:
    found = []
    for name in cell.encoded:
        one = cell.product["inputs"][name]
        modality = one["modality"]
        encoder = cell.encoder[modality]
        spec = {"column": one["column"], "encoder": encoder, "level": cell.level}
        spec |= {"level": "both"} if modality in cell.whole else {}
        spec |= {"optional": True} if one.get("optional") else {}
        chosen = str(cell.choices.get(f"encoder/{modality}", encoder["name"]))
        if not cell.generator and cell.training == "partial":
            spec |= {"level": "layers"} | {key: cell.trainer[key] for key in PARTIAL}
            chosen += f" below its last {cell.trainer['trainable_layers']}"
        label = f"{chosen} over {cell.source['name']}.{_short(one['column'])}"
        found.append(_stage(cell, "encode", label, spec, load))
    return found


def _short(column: Any) -> str:
    """The column, or the first of several."""
    names = [column] if isinstance(column, str) else list(column)
    return f"{names[0]} and {len(names) - 1} more" if len(names) > 1 else str(names[0])


def _stage(cell: Cell, kind: str, label: str, spec: dict[str, Any], *needs: Stage) -> Stage:
    keys = tuple(stage.key for stage in needs)
    key = digest({"kind": kind, "spec": spec, "needs": keys})
    return Stage(kind, key, label, spec, keys, (cell.id,))
