"""What keeps a generator from writing a product's answers, as sentences."""

from collections.abc import Iterator, Mapping
from typing import Any

from matrixhub.errors import unknown_name
from matrixhub.plan.cell import Cell
from matrixhub.plan.prompt import fields
from matrixhub.types import GENERATION


def generation_objections(cell: Cell) -> Iterator[str]:
    """Every reason why a cell with a generator cannot run, beside those of any cell."""
    inputs, outputs = cell.product["inputs"], cell.product["outputs"]
    if others := sorted({o["task"] for o in outputs.values()} - {GENERATION}):
        yield f"generation does not go with {', '.join(others)}: make it a product of its own."
    for name, one in inputs.items():
        if one["modality"] != "text":
            yield f"Input '{name}' is {one['modality']}, and a prompt is made of texts."
    for name, output in outputs.items():
        yield from _prompt(f"product.outputs.{name}.prompt", output["prompt"], list(inputs))
    if cell.generate is not None:
        yield from _options(cell.generate)


def _prompt(key: str, prompt: str | None, inputs: list[str]) -> Iterator[str]:
    if prompt is None:
        if len(inputs) > 1:
            shown = " ".join(f"{{{name}}}" for name in inputs)
            yield f"{key} is not set: with several inputs it says where each goes, such as '{shown}'."
        return
    if not fields(prompt):
        yield f"{key} names no input: write {{{inputs[0]}}} where its value goes."
    for name in fields(prompt):
        if name not in inputs:
            yield unknown_name(f"input in {key}", name, inputs)


_AT_LEAST = {"max_new_tokens": 1, "batch_size": 1, "temperature": 0, "seed": 0}


def _options(generate: Mapping[str, Any]) -> Iterator[str]:
    for key, least in _AT_LEAST.items():
        if not generate[key] >= least:
            yield f"generate.{key}={generate[key]}: must be at least {least}."
    if not 0 < generate["top_p"] <= 1:
        yield f"generate.top_p={generate['top_p']}: must be above 0 and at most 1."
    if "" in generate["stop"]:
        yield "generate.stop: an empty text would end every answer at once."
