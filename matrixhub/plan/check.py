"""What can be known to be impossible before any work, as sentences."""

import importlib.util
import re
from collections.abc import Iterator
from typing import Any

from matrixhub.config.schema import CHOICES, TRACKERS
from matrixhub.errors import unknown_name
from matrixhub.plan.cell import Cell
from matrixhub.plan.generation import generation_objections
from matrixhub.plugins import Hub
from matrixhub.types import GENERATION, RETRIEVAL, TASKS


def objections(cell: Cell, hub: Hub) -> list[str]:
    """Every reason why the cell cannot run; none when it can."""
    learning = [*_trainer(cell), *_encoder_training(cell)] if cell.trainer else []
    parts = generation_objections(cell, hub) if cell.generator else _components(cell, hub)
    return [*parts, *learning, *_product(cell), *hub.objections(cell.to_dict())]


def _components(cell: Cell, hub: Hub) -> Iterator[str]:
    assert cell.head
    head = hub.component("head", cell.head["name"])
    for modality, options in cell.encoder.items():
        encoder = hub.component("encoder", options["name"])
        if modality not in encoder.consumes:
            yield f"Encoder '{encoder.name}' reads {', '.join(encoder.consumes)}, not {modality}."
        if cell.training == "partial" and encoder.produces and "layers" not in encoder.produces:
            yield f"Encoder '{encoder.name}' cannot be cut: trainer.trainable_layers is not for it."
        if encoder.produces and cell.level not in encoder.produces:
            yield f"Encoder '{encoder.name}' gives no {cell.level} features, which the product's task needs."
    if cell.fusion and "prefix" in hub.component("fusion", cell.fusion["name"]).produces:
        yield f"Fusion '{cell.fusion['name']}' is for generators: choose another, such as fusion=concat."
    if head.consumes and cell.level not in head.consumes:
        yield f"Head '{head.name}' reads {', '.join(head.consumes)} features; this task needs {cell.level}."
    for name, output in cell.product["outputs"].items():
        task = output["task"]
        if task not in TASKS and task not in head.produces:
            yield unknown_name(f"task of output '{name}':", task, (*TASKS, GENERATION))
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
    yield from _targets(outputs)
    split = cell.product["split"]
    fractions = split["fractions"]
    if len(fractions) != 3 or min(fractions) < 0 or abs(sum(fractions) - 1) > 1e-6:
        yield f"product.split.fractions={fractions}: three shares (train, validation, test) that add up to 1."


def _targets(outputs: dict[str, Any]) -> Iterator[str]:
    for name, output in outputs.items():
        if output["target"] is None and output["task"] != RETRIEVAL:
            key = f"product.outputs.{name}.target"
            yield f"{key} is not set: add {key}=COLUMN."


_AT_LEAST = {"epochs": 1, "batch_size": 1, "accumulation": 1, "weight_decay": 0, "warmup": 0, "seed": 0}
_ABOVE_ZERO = ("lr", "encoder_lr", "clip", "patience", "joint_temperature")


def _trainer(cell: Cell) -> Iterator[str]:
    trainer, outputs = cell.trainer, list(cell.product["outputs"])
    for key, least in _AT_LEAST.items():
        if not trainer[key] >= least:
            yield f"trainer.{key}={trainer[key]}: must be at least {least}."
    for key in _ABOVE_ZERO:
        if trainer.get(key) is not None and not trainer[key] > 0:
            yield f"trainer.{key}={trainer[key]}: must be above 0."
    if trainer["warmup"] >= 1:
        yield f"trainer.warmup={trainer['warmup']}: a share of all steps, below 1."
    output, _, metric = trainer["monitor"].partition(".")
    if trainer["monitor"] != "loss" and (output not in outputs or not metric):
        known = ", ".join(f"{name}.METRIC" for name in outputs)
        yield f"trainer.monitor={trainer['monitor']}: allowed are loss, {known}."
    for key in ("schedule", "balance", "joint"):
        allowed = CHOICES[f"trainer.{key}"]
        if (chosen := trainer.get(key)) is not None and chosen not in allowed:
            yield unknown_name(f"trainer.{key}", chosen, allowed)


_WAYS = ("train_encoder", "trainable_layers", "lora")


def _encoder_training(cell: Cell) -> Iterator[str]:
    """What keeps encoders from being trained as they are to be."""
    trainer = cell.trainer
    layers, lora, budget = (trainer.get(k) for k in ("trainable_layers", "lora", "layers_budget_gb"))
    if len(chosen := [way for way in _WAYS if trainer.get(way) not in (None, False)]) > 1:
        yield f"{' and '.join(f'trainer.{way}' for way in chosen)}: an encoder trains in one of these ways."
    if layers is not None and layers < 1:
        yield f"trainer.trainable_layers={layers}: must be at least 1; trainer=frozen trains none."
    if budget is not None and not budget >= 0:
        yield f"trainer.layers_budget_gb={budget}: must be at least 0, which recomputes."
    if layers is not None and cell.level == "tokens":
        yield "trainer.trainable_layers does not go with token_classification yet: take trainer=finetune."
    if lora:
        yield from _lora(lora)


def _lora(lora: dict[str, Any]) -> Iterator[str]:
    if lora["rank"] < 1:
        yield f"trainer.lora.rank={lora['rank']}: must be at least 1."
    if not lora["alpha"] > 0:
        yield f"trainer.lora.alpha={lora['alpha']}: must be above 0."
    if not 0 <= lora["dropout"] < 1:
        yield f"trainer.lora.dropout={lora['dropout']}: must be at least 0 and below 1."
    if importlib.util.find_spec("peft") is None:
        yield "trainer.lora needs peft: pip install 'matrixhub[lora]'."


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
    for name in launch["trackers"]:
        if name not in TRACKERS:
            found.append(unknown_name("tracker", name, TRACKERS))
        elif importlib.util.find_spec(name) is None:
            found.append(f"The tracker {name} is not installed: pip install 'matrixhub[{name}]'.")
    return found
