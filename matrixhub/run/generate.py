"""Texts written by a generator: prompts from rows, batches of like length, spread over the ranks."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import torch
from accelerate import Accelerator
from accelerate.utils import gather_object

from matrixhub.data.columns import Rows, as_columns, present_rows, require_columns, values
from matrixhub.errors import ConfigError, DataError, MatrixHubError, PluginError, unknown_name
from matrixhub.plan.cell import prompt_inputs
from matrixhub.plan.prompt import filled, known, text_of
from matrixhub.protocols import Generator, Streams
from matrixhub.run.encode import table_rows
from matrixhub.run.ranks import together
from matrixhub.types import Generation

Written = list[tuple[int, Generation]]
"""Texts and the places of their prompts."""

Prefix = Callable[[Sequence[int]], "torch.Tensor | None"]
"""What a generator reads before the prompts at these places (B, P, W); None where it reads nothing."""


def no_prefix(places: Sequence[int]) -> None:
    """Of generators that read texts only."""


def prompts_of(table: pa.Table, product: Mapping[str, Any], output: str, rows: Rows) -> list[str]:
    """The prompts of some rows of a table, for one output.

    Raises:
        DataError: a column or a value is missing, or is no text; names the row.
    """
    told = prompt_inputs(product["inputs"])
    for name, one in told.items():
        require_columns(table, as_columns(one["column"]), role=f"product.inputs.{name}.column")
    found = {
        name: values(table, one["column"], rows, present=present_rows(table, one))
        for name, one in told.items()
    }
    columns = {name: known(one, found[name]) for name, one in told.items()}
    with table_rows(rows):
        return filled(product["outputs"][output]["prompt"], columns, len(rows))


def answers_of(table: pa.Table, outputs: Mapping[str, Any], rows: Rows) -> dict[str, list[str]]:
    """The right answers of some rows, by output.

    Raises:
        DataError: a column or a value is missing, or is no text; names the row.
    """
    found = {}
    for name, output in outputs.items():
        column = output["target"]
        require_columns(table, [column], role=f"product.outputs.{name}.target")
        right = values(table, column, rows)
        for row, value in zip(rows, right, strict=True):
            if isinstance(value, list | dict | bytes):
                kind = type(value).__name__
                raise DataError(f"an answer is one text, not {kind}.", row=int(row), column=column)
        with table_rows(rows):
            found[name] = [text_of(value, i) for i, value in enumerate(right)]
    return found


def write(
    generator: Generator,
    prompts: Sequence[str],
    options: Mapping[str, Any],
    *,
    prefix: Prefix = no_prefix,
    accelerator: Accelerator | None = None,
    on_rows: Callable[[int], None] = lambda count: None,
) -> list[Generation]:
    """One text a prompt, in their order, on every rank.

    What is drawn by a seed is the same on any number of ranks, since it does not depend on the batch.

    Args:
        generator: in eval mode.
        prompts: of all rows.
        options: as in ``GenerateConfig``.
        prefix: of prompts.
        accelerator: of this process; None writes all of them here.
        on_rows: told how many prompts each batch had.

    Raises:
        ConfigError: there is no room for an answer.
        PluginError: the generator fails.
    """
    _require_room(generator, options)
    # The longest first: what is too much for the memory is found out at once.
    order = np.argsort([-len(prompt) for prompt in prompts], kind="stable").tolist()
    size = options["batch_size"]
    ranks = accelerator.num_processes if accelerator else 1
    # Dealt row by row, since a rank without a batch would wait for one that has two.
    dealt = order[accelerator.process_index if accelerator else 0 :: ranks]
    mine = [dealt[start : start + size] for start in range(0, len(dealt), size)]
    if accelerator is None:
        found = _written(generator, prompts, mine, prefix=prefix, options=options, on_rows=on_rows)
    else:
        found = together(
            accelerator,
            lambda: _written(generator, prompts, mine, prefix=prefix, options=options, on_rows=on_rows),
        )
        found = gather_object(found) if ranks > 1 else found
    return [text for _, text in sorted(found, key=lambda one: one[0])]


def streamed_output(manifest: Mapping[str, Any], model: Any, output: str | None) -> str:
    """The output of a product that is to be streamed, its only one where none is named.

    Raises:
        ConfigError: nothing in the product writes piece by piece; no such output, or not said which.
    """
    outputs = manifest["product"]["outputs"]
    if not manifest.get("generator"):
        raise ConfigError(f"'{manifest['name']}' has no generator, so there is no text to stream: call it.")
    if not isinstance(model.generator, Streams):
        raise ConfigError(f"Generator '{manifest['generator']['name']}' has no stream: call the product.")
    if output is None and len(outputs) == 1:
        return str(next(iter(outputs)))
    if output is None or output not in outputs:
        raise ConfigError(unknown_name("output to stream:", str(output), outputs))
    return output


def stream(generator: Any, prompt: str, options: Mapping[str, Any], *, prefix: Prefix) -> Iterator[str]:
    """The text that ``write`` gives for one prompt, piece by piece.

    Raises:
        ConfigError: there is no room for an answer; it cannot be streamed as it is to be written.
    """
    _require_room(generator, options)
    how = {key: value for key, value in options.items() if key != "batch_size"}
    # Not by inference_mode, which what comes out of a generator function would leave on in between.
    with torch.no_grad():
        vectors = prefix([0])
    pieces: Iterator[str] = generator.stream(
        prompt, **how, **({} if vectors is None else {"prefix_BPW": vectors})
    )
    return pieces


def _require_room(generator: Generator, options: Mapping[str, Any]) -> None:
    most = options["max_new_tokens"]
    if most >= generator.context:
        raise ConfigError(
            f"generate.max_new_tokens={most} leaves no room for a prompt: the generator holds "
            f"{generator.context} tokens in all."
        )


@torch.inference_mode()
def _written(
    generator: Generator,
    prompts: Sequence[str],
    batches: Sequence[Sequence[int]],
    *,
    prefix: Prefix,
    options: Mapping[str, Any],
    on_rows: Callable[[int], None],
) -> Written:
    how = {key: value for key, value in options.items() if key != "batch_size"}
    found: Written = []
    for places in batches:
        vectors = prefix(places)
        given = how if vectors is None else {**how, "prefix_BPW": vectors}
        found += zip(places, _texts(generator, [prompts[place] for place in places], given), strict=True)
        on_rows(len(places))
    return found


def _texts(generator: Generator, prompts: list[str], how: Mapping[str, Any]) -> Sequence[Generation]:
    try:
        texts = generator.generate(prompts, **how)
    except (MatrixHubError, torch.OutOfMemoryError):
        raise
    except Exception as error:  # whatever a plugin raises costs its own cells only
        raise PluginError(f"The generator failed: {type(error).__name__}: {error}") from error
    if len(texts) != len(prompts):
        raise PluginError(f"The generator gave {len(texts)} texts for {len(prompts)} prompts.")
    if wrong := [one for one in texts if not isinstance(one, Generation)]:
        raise PluginError(f"The generator gave a {type(wrong[0]).__name__}, not a matrixhub.Generation.")
    return texts
