"""What this plugin offers; imports nothing heavy."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from matrixhub import Register, hookimpl

matrixhub_api = 1

RETRIEVAL = "retrieval"
SIDES = ("retrieval.towers", "core.concat")
"""Fusions that keep two inputs apart, so that each can be found without the other."""


@dataclass
class TowersConfig:
    """Brings two inputs into one space, each by layers of its own."""

    dim: int = 512
    """Width of the space."""
    hidden: int = 2048
    """Width of the layer between an encoder's features and the space; 0 does without it."""
    dropout: float = 0.3
    """Share of what each layer reads set to zero at random while training."""
    shared: bool = False
    """One and the same layers for both inputs, whose features must be of one width."""
    residual: bool = False
    """What layers say is added to the features, and nothing at first: for encoders whose features can be
    compared as they come. Both inputs must be of one width, which is that of the space too."""


@dataclass
class ContrastiveConfig:
    """Tells the second input of each row from those of all others of its batch, and back."""

    temperature: float = 0.07
    """At which similarities are compared at first; it is learned from there on."""


@hookimpl
def matrixhub_components(register: Register) -> None:
    """A fusion and a head, made for each other."""
    register("fusion", "towers", "matrixhub_retrieval.towers:Towers", config=TowersConfig)
    register(
        "head",
        "contrastive",
        "matrixhub_retrieval.contrastive:Contrastive",
        config=ContrastiveConfig,
        consumes="pooled",
        produces=(RETRIEVAL,),
    )


@hookimpl
def matrixhub_config_dirs() -> Sequence[Path]:
    """A product: the rows of a table, found by another column of theirs."""
    return [Path(__file__).parent / "conf"]


@hookimpl
def matrixhub_check(cell: Mapping[str, Any]) -> Sequence[str]:
    """What keeps rows from being found."""
    tasks = {output["task"] for output in cell["product"]["outputs"].values()}
    return list(_objections(cell)) if RETRIEVAL in tasks and cell["head"] else []


def _objections(cell: Mapping[str, Any]) -> Iterator[str]:
    inputs, fusion = cell["product"]["inputs"], cell["fusion"]
    if len(inputs) != 2:
        yield f"retrieval finds one input by another: give product.inputs two, not {len(inputs)}."
        return
    first, second = inputs.values()
    if first["column"] == second["column"]:
        yield f"Both inputs read the column {first['column']}: every row would find itself. Take two columns."
    if optional := [name for name, one in inputs.items() if one.get("optional")]:
        yield f"retrieval needs both inputs of a row: {' and '.join(optional)} cannot be optional."
    if (parts := cell["trainer"]["accumulation"]) > 1:
        yield (
            f"trainer.accumulation={parts}: each row is told from those of its own part of the batch alone,"
            " not from all. Leave accumulation at 1, and choose the trainer.batch_size that fits into memory."
        )
    if fusion and fusion["name"] not in SIDES:
        yield f"fusion={fusion['name']} mixes the two inputs, so that none is found alone: fusion=towers."
    elif fusion and fusion["name"] == "core.concat" and first["modality"] != second["modality"]:
        yield "fusion=concat is for inputs of one encoder; two need a space of their own: fusion=towers."


@hookimpl
def matrixhub_cli(group: Any) -> None:
    """``matrixhub index`` and ``matrixhub search``."""
    group.add("index", "matrixhub_retrieval.commands:index", help="make rows searchable by a trained product")
    group.add("search", "matrixhub_retrieval.commands:search", help="find rows by a text or an image")
