"""What can be known to be impossible before any work, as sentences."""

import re
from collections.abc import Iterator
from typing import Any

from matrixhub.config.schema import CHOICES
from matrixhub.errors import unknown_name
from matrixhub.plan.cell import Cell
from matrixhub.plugins import Hub
from matrixhub.types import TASKS


def objections(cell: Cell, hub: Hub) -> list[str]:
    """Every reason why the cell cannot run; none when it can."""
    return [
        *_components(cell, hub),
        *_product(cell),
        *_trainer(cell.trainer, list(cell.product["outputs"])),
        *hub.objections(cell.to_dict()),
    ]


def _components(cell: Cell, hub: Hub) -> Iterator[str]:
    head = hub.component("head", cell.head["name"])
    for modality, options in cell.encoder.items():
        encoder = hub.component("encoder", options["name"])
        if modality not in encoder.consumes:
            yield f"Encoder '{encoder.name}' reads {', '.join(encoder.consumes)}, not {modality}."
        if encoder.produces and cell.level not in encoder.produces:
            yield f"Encoder '{encoder.name}' gives no {cell.level} features, which the product's task needs."
    if head.consumes and cell.level not in head.consumes:
        yield f"Head '{head.name}' reads {', '.join(head.consumes)} features; this task needs {cell.level}."
    for name, output in cell.product["outputs"].items():
        task = output["task"]
        if task not in TASKS and task not in head.produces:
            yield unknown_name(f"task of output '{name}':", task, TASKS)
        elif head.produces and task not in head.produces:
            yield f"Head '{head.name}' learns {', '.join(head.produces)}, not {task} (output '{name}')."


def _product(cell: Cell) -> Iterator[str]:
    inputs, outputs = cell.product["inputs"], cell.product["outputs"]
    if not re.fullmatch(r"\w[\w.-]*", cell.product["name"]):
        yield f"product.name='{cell.product['name']}': it names a folder; use letters, digits, '_', '-', '.'."
    if cell.level == "tokens" and len(inputs) > 1:
        yield "token_classification reads the tokens of one input; this product has several."
    if cell.level == "tokens" and any(o["task"] != "token_classification" for o in outputs.values()):
        yield "token_classification cannot share a head level with other tasks: make it a product of its own."
    split = cell.product["split"]
    fractions = split["fractions"]
    if len(fractions) != 3 or min(fractions) < 0 or abs(sum(fractions) - 1) > 1e-6:
        yield f"product.split.fractions={fractions}: three shares (train, validation, test) that add up to 1."


_AT_LEAST = {"epochs": 1, "batch_size": 1, "accumulation": 1, "weight_decay": 0, "warmup": 0, "seed": 0}
_ABOVE_ZERO = ("lr", "encoder_lr", "clip", "patience")


def _trainer(trainer: dict[str, Any], outputs: list[str]) -> Iterator[str]:
    for key, least in _AT_LEAST.items():
        if not trainer[key] >= least:
            yield f"trainer.{key}={trainer[key]}: must be at least {least}."
    for key in _ABOVE_ZERO:
        if trainer[key] is not None and not trainer[key] > 0:
            yield f"trainer.{key}={trainer[key]}: must be above 0."
    if trainer["warmup"] >= 1:
        yield f"trainer.warmup={trainer['warmup']}: a share of all steps, below 1."
    output, _, metric = trainer["monitor"].partition(".")
    if trainer["monitor"] != "loss" and (output not in outputs or not metric):
        known = ", ".join(f"{name}.METRIC" for name in outputs)
        yield f"trainer.monitor={trainer['monitor']}: allowed are loss, {known}."
    schedules = CHOICES["trainer.schedule"]
    if trainer["schedule"] not in schedules:
        yield unknown_name("trainer.schedule", trainer["schedule"], schedules)


def encode_objections(encode: dict[str, Any]) -> list[str]:
    """What is wrong with how encoders are to run."""
    precisions = CHOICES["encode.precision"]
    if encode["precision"] in precisions:
        return []
    return [unknown_name("encode.precision", encode["precision"], precisions)]


def launch_objections(launch: dict[str, Any]) -> list[str]:
    """What is wrong with where a plan is to run."""
    found = []
    precisions = CHOICES["launch.mixed_precision"]
    if launch["mixed_precision"] not in precisions:
        found.append(unknown_name("launch.mixed_precision", launch["mixed_precision"], precisions))
    if launch["num_processes"] < 1:
        found.append(f"launch.num_processes={launch['num_processes']}: must be at least 1.")
    return found
