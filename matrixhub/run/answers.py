"""A cell whose answers a generator writes: scored on the test rows, recorded, saved."""

import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import torch
from torch import Tensor, nn

from matrixhub.data.columns import present_rows, values
from matrixhub.data.splits import Splits
from matrixhub.errors import DataError
from matrixhub.plan import Cell
from matrixhub.plan.cell import prompt_inputs
from matrixhub.plan.prompt import known, text_of
from matrixhub.run.evaluate import evaluate
from matrixhub.run.generate import write
from matrixhub.run.intervals import mean_interval
from matrixhub.run.mistakes import MOST_ERRORS, Rows, preview
from matrixhub.run.overlap import METRIC, exact_match, f1, metrics
from matrixhub.run.price import artifact_bytes, time_encoder, timed_rows
from matrixhub.run.records import record_head, strict
from matrixhub.run.saved import WrittenModules, artifact_folder, save_generator
from matrixhub.run.session import Session
from matrixhub.run.teach import Taught, taught
from matrixhub.run.train import Given
from matrixhub.run.writer import Writer, by_likelihood
from matrixhub.types import Generation


@dataclass(frozen=True, slots=True)
class Answers:
    """What was written for the test rows, by output, beside what is right.

    Attributes:
        texts: written.
        right: answers.
        seconds: of writing all of them.
        latency_ms: of one row, alone, from its features on.
        taught: what wrote them.
        perplexities: of the right answers, by those outputs that are scored by it.
    """

    texts: dict[str, list[Generation]]
    right: dict[str, list[str]]
    seconds: float
    latency_ms: float
    taught: Taught
    perplexities: dict[str, dict[str, float]]


def write_answers(cell: Cell, given: Given, session: Session) -> Answers:
    """Answers to the test rows, written on all ranks after what is to be trained has been.

    Raises:
        DataError: there is no test row, or a value in it cannot be used; names it.
        ConfigError, PluginError, TrainingError: as ``taught`` and ``write``.
    """
    rows, options = given.splits.test, cell.generate or {}
    if not len(rows):
        raise DataError("no row is left for test, and a product is scored on some: see product.split")
    found = taught(cell, given, session)
    generator = found.writer.generator
    right = {name: [texts[row] for row in rows] for name, texts in found.feed.answers.items()}
    prompts = {name: [texts[row] for row in rows] for name, texts in found.feed.prompts.items()}

    def prefix(places: Sequence[int]) -> Tensor | None:
        return found.feed.prefix(found.writer, rows[list(places)])

    started = time.perf_counter()
    # A rank tells of its own share only.
    total = len(rows) * len(right) // session.accelerator.num_processes
    with session.progress(f"generate {cell.name}", total, "rows") as advance:
        texts = {
            name: write(
                generator,
                some,
                options,
                prefix=prefix,
                accelerator=session.accelerator,
                on_rows=advance,
            )
            for name, some in prompts.items()
        }
    seconds, started = time.perf_counter() - started, time.perf_counter()
    for some in prompts.values():
        session.together(lambda some=some: write(generator, some[:1], options, prefix=prefix))  # type: ignore[misc]
    latency_ms = 1000 * (time.perf_counter() - started)
    return Answers(texts, right, seconds, latency_ms, found, _perplexities(cell, found, rows, session))


def _perplexities(cell: Cell, found: Taught, rows: Rows, session: Session) -> dict[str, dict[str, float]]:
    """Of the right answers to some rows, on every rank."""
    outputs = cell.product["outputs"]
    if not (asked := by_likelihood(outputs)):
        return {}
    targets = {name: torch.zeros(int(rows.max()) + 1) for name in outputs}
    scores = evaluate(found.writer, found.feed, targets, rows, accelerator=session.accelerator)
    return {name: scores.metrics[name] for name in asked}


def finish_answers(
    cell: Cell,
    answers: Answers,
    given: Given,
    *,
    session: Session,
    shared: WrittenModules,
) -> dict[str, Any]:
    """The record of a cell, complete on the main process, which saves the artifact too.

    Raises:
        ArtifactError: it cannot be written; on all ranks.
    """
    record, taught = _record(cell, answers, given.table, given.splits), answers.taught
    writer = session.together(lambda: with_encoders(cell, taught.writer, session))
    record["parameters"] = _parameters(writer)
    if taught.watch:
        taught.watch.finish(taught.history, record["metrics"])

    def on_main() -> None:
        for name, modality in writer.modalities.items():
            rows = timed_rows(cell.product["inputs"][name], given.table, given.splits.test)
            encoder: Any = writer.encoders[modality]
            record["latency_ms"] += time_encoder(encoder, rows, session.accelerator.device)[0]
        folder = artifact_folder(session.folder, cell)
        save_generator(folder, cell=cell, writer=writer, record=record, shared=shared)
        record["artifact"] = str(folder)
        record["artifact_bytes"] = artifact_bytes(folder)

    session.on_main(on_main)
    return record


def with_encoders(cell: Cell, writer: Writer, session: Session) -> Writer:
    """As it answers rows: with the encoders whose features it was fed with."""
    encoders: dict[str, nn.Module] = {m: session.encoder(o).module for m, o in cell.encoder.items()}
    modalities = {name: cell.product["inputs"][name]["modality"] for name in cell.encoded}
    return Writer(writer.generator, writer.bridge, encoders, modalities).eval()


def _record(cell: Cell, answers: Answers, table: pa.Table, splits: Splits) -> dict[str, Any]:
    said = {name: [text.text for text in texts] for name, texts in answers.texts.items()}
    right, taught = answers.right, answers.taught
    history = taught.history
    more = {name: output["metrics"] for name, output in cell.product["outputs"].items()}
    return {
        **record_head(cell, "done"),
        "main": {name: {"metric": METRIC, "higher_is_better": True} for name in said},
        "metrics": strict(
            {
                name: {**metrics(texts, right[name], more[name]), **answers.perplexities.get(name, {})}
                for name, texts in said.items()
            }
        ),
        "losses": {},
        "baselines": {name: _baselines(cell, name, right[name], table, splits=splits) for name in said},
        "num_rows": {
            "train": len(splits.train) if cell.trainer else 0,
            "validation": len(splits.validation) if cell.trainer else 0,
            "test": len(splits.test),
        },
        "notes": [*splits.notes, *_notes(cell, answers, splits), *_lacking(cell, table)],
        "epochs": strict(history.epochs),
        "best_epoch": history.best_epoch,
        "num_steps": history.num_steps,
        **({"train_seconds": round(taught.seconds, 3)} if cell.trainer else {}),
        "generate_seconds": round(answers.seconds, 3),
        "latency_ms": answers.latency_ms,
        "outputs": {
            name: _details(cell, texts, right[name], table, rows=splits.test) for name, texts in said.items()
        },
    }


def _baselines(
    cell: Cell, output: str, right: Sequence[str], table: pa.Table, *, splits: Splits
) -> dict[str, dict[str, float]]:
    """What one gets without a generator: the first input said again, the commonest answer elsewhere."""
    if not cell.baseline:
        return {}
    found, more = {}, cell.product["outputs"][output]["metrics"]
    for one in list(prompt_inputs(cell.product["inputs"]).values())[:1]:
        said = known(one, values(table, one["column"], splits.test, present=present_rows(table, one)))
        inputs = [text_of(value, i) for i, value in enumerate(said)]
        found["the input itself"] = metrics(inputs, right, more)
    target = table[cell.product["outputs"][output]["target"]].take(pa.array(splits.train)).to_pylist()
    if seen := Counter(str(answer) for answer in target if answer is not None):
        commonest = min(seen, key=lambda answer: (-seen[answer], answer))
        found["commonest answer"] = metrics([commonest] * len(right), right, more)
    return found


def _parameters(writer: Writer) -> dict[str, int]:
    """Numbers in each part, and how many were trained."""
    parts = {"encoder": writer.encoders, "prefix": writer.bridge, "generator": writer.generator}
    sizes = {name: sum(p.numel() for p in part.parameters()) for name, part in parts.items()}
    trained = sum(p.numel() for p in writer.parameters() if p.requires_grad)
    return {**{name: size for name, size in sizes.items() if size}, "trained": trained}


def _notes(cell: Cell, answers: Answers, splits: Splits) -> Iterator[str]:
    if cell.trainer and not len(splits.validation):
        yield "There are no validation rows: the best epoch was chosen by the training loss."
    texts = [text for some in answers.texts.values() for text in some]
    if cut := sum(text.truncated for text in texts):
        yield f"{cut:,} of {len(texts):,} prompts are longer than the generator reads, and were cut."
    if ended := sum(text.ended == "length" for text in texts):
        yield f"{ended:,} of {len(texts):,} answers ended at generate.max_new_tokens."


def _lacking(cell: Cell, table: pa.Table) -> Iterator[str]:
    for name, one in cell.product["inputs"].items():
        present = present_rows(table, one)
        if present is not None and (count := int((~present).sum())):
            instead = "nothing stands in its place in the prompt"
            if name in cell.encoded:
                instead = "what stands in for it was learned"
            yield f"{count:,} of {len(present):,} rows lack {name}; {instead}."


def _details(
    cell: Cell, said: Sequence[str], right: Sequence[str], table: pa.Table, *, rows: Rows
) -> dict[str, Any]:
    """As ``details`` tells of the output of a head: the interval, and the rows that are answered worst."""
    scores = [f1(*pair) for pair in zip(said, right, strict=True)]
    wrong = [i for i, pair in enumerate(zip(said, right, strict=True)) if not exact_match(*pair)]
    worst = sorted(wrong, key=lambda i: scores[i])[:MOST_ERRORS]
    inputs = cell.product["inputs"]
    shown = (
        {name: values(table, one["column"], rows[worst], nulls=True) for name, one in inputs.items()}
        if worst
        else {}
    )
    errors = [
        {
            "row": int(rows[i]) + 1,
            "input": {name: preview(c[place], inputs[name]["modality"]) for name, c in shown.items()},
            "truth": preview(right[i], "text"),
            "answer": preview(said[i], "text"),
            "score": None,
        }
        for place, i in enumerate(worst)
    ]
    between = mean_interval(scores)
    return {"interval": between, "confusion": None, "num_wrong": len(wrong), "errors": errors}
