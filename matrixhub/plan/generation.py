"""What keeps a generator from writing a product's answers, as sentences."""

import importlib.util
from collections.abc import Iterator, Mapping
from typing import Any

from matrixhub.errors import unknown_name
from matrixhub.plan.cell import Cell
from matrixhub.plan.prompt import fields
from matrixhub.plugins import Hub
from matrixhub.types import GENERATION, PERPLEXITY, TEXT_METRICS


def generation_objections(cell: Cell, hub: Hub) -> Iterator[str]:
    """Every reason why a cell with a generator cannot run, beside those of any cell."""
    inputs, outputs = cell.product["inputs"], cell.product["outputs"]
    if others := sorted({o["task"] for o in outputs.values()} - {GENERATION}):
        yield f"generation does not go with {', '.join(others)}: make it a product of its own."
    yield from _able(cell, hub)
    told = [name for name in inputs if name not in cell.encoded]
    for name, output in outputs.items():
        yield from _prompt(f"product.outputs.{name}.prompt", output["prompt"], told, prefix=cell.encoded)
        yield from _metrics(name, output.get("metrics") or [])
        yield from _likelihood(name, output.get("metrics") or [], cell, hub)
    if cell.generate is not None:
        yield from _options(cell.generate)


def _able(cell: Cell, hub: Hub) -> Iterator[str]:
    """What the generator, or what stands before it, cannot do."""
    generator = hub.component("generator", (cell.generator or {})["name"])
    if cell.encoded and "prefix" not in generator.consumes:
        yield f"Generator '{generator.name}' reads texts only, and {_inputs(cell)} is to be read as vectors."
        return
    if cell.fusion and "prefix" not in (fusion := hub.component("fusion", cell.fusion["name"])).produces:
        known = sorted(c.name for c in hub.registry.of_kind("fusion") if "prefix" in c.produces)
        hint = f"choose fusion={known[0]}" if known else "pip install matrixhub-fusion, for fusion=prefix"
        yield f"Fusion '{fusion.name}' makes no vectors for a generator: {hint}."
    if not cell.trainer:
        return
    if "loss" not in generator.produces:
        what = "its prefix cannot be trained" if cell.training == "frozen" else "trainer=frozen leaves it so"
        yield f"Generator '{generator.name}' does not learn: {what}."
    if cell.trainer.get("balance", "fixed") != "fixed":
        yield f"trainer.balance={cell.trainer['balance']} is for heads: leave it out with a generator."
    if cell.training == "partial":
        yield "trainer.trainable_layers is for encoders: a generator trains by trainer=lora or finetune."
    if not cell.trainer["monitor"].endswith(("loss", ".perplexity")):
        outputs = ", ".join(f"{name}.perplexity" for name in cell.product["outputs"])
        yield f"trainer.monitor={cell.trainer['monitor']}: a generator trains by loss or {outputs}."


def _inputs(cell: Cell) -> str:
    return " and ".join(f"{name} ({cell.product['inputs'][name]['modality']})" for name in cell.encoded)


def _prompt(key: str, prompt: str | None, inputs: list[str], *, prefix: list[str]) -> Iterator[str]:
    if prompt is None:
        if len(inputs) > 1:
            shown = " ".join(f"{{{name}}}" for name in inputs)
            yield f"{key} is not set: with several inputs it says where each goes, such as '{shown}'."
        return
    for name in fields(prompt):
        if name in prefix:
            yield f"{key} names {name}, which is no text: the generator reads it before the prompt."
    if not fields(prompt) and not prefix:
        yield f"{key} names no input: write {{{inputs[0]}}} where its value goes."
    for name in fields(prompt):
        if name not in (*inputs, *prefix):
            yield unknown_name(f"input in {key}", name, inputs)


def _metrics(output: str, names: list[str]) -> Iterator[str]:
    for name in names:
        if name not in (*TEXT_METRICS, PERPLEXITY):
            yield unknown_name(f"metric of output '{output}':", name, (*TEXT_METRICS, PERPLEXITY))
    needed = {"sacrebleu" if name in ("bleu", "chrf") else "rouge_score" for name in {*names} - {PERPLEXITY}}
    if absent := [name for name in sorted(needed) if importlib.util.find_spec(name) is None]:
        yield f"Metrics of output '{output}' need {', '.join(absent)}: pip install 'matrixhub[texts]'."


def _likelihood(output: str, names: list[str], cell: Cell, hub: Hub) -> Iterator[str]:
    generator = hub.component("generator", (cell.generator or {})["name"])
    if PERPLEXITY in names and "loss" not in generator.produces:
        yield (
            f"Generator '{generator.name}' does not tell how likely a text is, so output '{output}' has no "
            f"{PERPLEXITY}: leave it out of product.outputs.{output}.metrics, or choose another generator."
        )


_AT_LEAST = {"max_new_tokens": 1, "batch_size": 1, "temperature": 0, "seed": 0}


def _options(generate: Mapping[str, Any]) -> Iterator[str]:
    for key, least in _AT_LEAST.items():
        if not generate[key] >= least:
            yield f"generate.{key}={generate[key]}: must be at least {least}."
    if not 0 < generate["top_p"] <= 1:
        yield f"generate.top_p={generate['top_p']}: must be above 0 and at most 1."
    if "" in generate["stop"]:
        yield "generate.stop: an empty text would end every answer at once."
