"""A cell whose answers a generator writes: scored on the test rows, recorded, saved."""

import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from matrixhub.data.columns import values
from matrixhub.data.splits import Splits
from matrixhub.errors import DataError
from matrixhub.plan import Cell
from matrixhub.plan.prompt import text_of
from matrixhub.run.generate import answers_of, prompts_of, write
from matrixhub.run.intervals import mean_interval
from matrixhub.run.mistakes import MOST_ERRORS, Rows, preview
from matrixhub.run.overlap import METRIC, exact_match, f1, metrics
from matrixhub.run.price import artifact_bytes
from matrixhub.run.records import record_head, strict
from matrixhub.run.saved import WrittenModules, artifact_folder, save_generator
from matrixhub.run.session import Session
from matrixhub.types import Generation


@dataclass(frozen=True, slots=True)
class Answers:
    """What was written for the test rows, by output, beside what is right.

    Attributes:
        texts: written.
        right: answers.
        seconds: of writing all of them.
        latency_ms: of one row, alone.
    """

    texts: dict[str, list[Generation]]
    right: dict[str, list[str]]
    seconds: float
    latency_ms: float


def write_answers(cell: Cell, table: pa.Table, splits: Splits, session: Session) -> Answers:
    """Answers to the test rows, written on all ranks.

    Raises:
        DataError: there is no test row, or a value in it cannot be used; names it.
        ConfigError, PluginError: as ``write``.
    """
    rows, product, options = splits.test, cell.product, cell.generate or {}
    if not len(rows):
        raise DataError("no row is left for test, and a product is scored on some: see product.split")
    right = session.together(lambda: answers_of(table, product["outputs"], rows))
    prompts = session.together(lambda: {name: prompts_of(table, product, name, rows) for name in right})
    generator = session.together(lambda: session.generator(cell.generator or {}))
    started = time.perf_counter()
    # A rank tells of its own share only.
    total = len(rows) * len(right) // session.accelerator.num_processes
    with session.progress(f"generate {cell.name}", total, "rows") as advance:
        texts = {
            name: write(generator, some, options, accelerator=session.accelerator, on_rows=advance)
            for name, some in prompts.items()
        }
    seconds, started = time.perf_counter() - started, time.perf_counter()
    for some in prompts.values():
        session.together(lambda some=some: write(generator, some[:1], options))  # type: ignore[misc]
    return Answers(texts, right, seconds, 1000 * (time.perf_counter() - started))


def finish_answers(
    cell: Cell,
    answers: Answers,
    table: pa.Table,
    *,
    splits: Splits,
    session: Session,
    shared: WrittenModules,
) -> dict[str, Any]:
    """The record of a cell, complete on the main process, which saves the artifact too.

    Raises:
        ArtifactError: it cannot be written; on all ranks.
    """
    record = _record(cell, answers, table, splits)
    generator = session.generator(cell.generator or {})
    record["parameters"] = {"generator": sum(p.numel() for p in generator.parameters()), "trained": 0}

    def on_main() -> None:
        folder = artifact_folder(session.folder, cell)
        save_generator(folder, cell=cell, generator=generator, record=record, shared=shared)
        record["artifact"] = str(folder)
        record["artifact_bytes"] = artifact_bytes(folder)

    session.on_main(on_main)
    return record


def _record(cell: Cell, answers: Answers, table: pa.Table, splits: Splits) -> dict[str, Any]:
    said = {name: [text.text for text in texts] for name, texts in answers.texts.items()}
    right = answers.right
    return {
        **record_head(cell, "done"),
        "main": {name: {"metric": METRIC, "higher_is_better": True} for name in said},
        "metrics": strict({name: metrics(texts, right[name]) for name, texts in said.items()}),
        "losses": {},
        "baselines": {name: _baselines(cell, name, right[name], table, splits=splits) for name in said},
        "num_rows": {"train": 0, "validation": 0, "test": len(splits.test)},
        "notes": [*splits.notes, *_notes(answers)],
        "epochs": [],
        "best_epoch": 0,
        "num_steps": 0,
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
    column = next(iter(cell.product["inputs"].values()))["column"]
    inputs = [text_of(value, i) for i, value in enumerate(values(table, column, splits.test))]
    found = {"the input itself": metrics(inputs, right)}
    target = table[cell.product["outputs"][output]["target"]].take(pa.array(splits.train)).to_pylist()
    if seen := Counter(str(answer) for answer in target if answer is not None):
        commonest = min(seen, key=lambda answer: (-seen[answer], answer))
        found["commonest answer"] = metrics([commonest] * len(right), right)
    return found


def _notes(answers: Answers) -> Iterator[str]:
    texts = [text for some in answers.texts.values() for text in some]
    if cut := sum(text.truncated for text in texts):
        yield f"{cut:,} of {len(texts):,} prompts are longer than the generator reads, and were cut."
    if ended := sum(text.ended == "length" for text in texts):
        yield f"{ended:,} of {len(texts):,} answers ended at generate.max_new_tokens."


def _details(
    cell: Cell, said: Sequence[str], right: Sequence[str], table: pa.Table, *, rows: Rows
) -> dict[str, Any]:
    """As ``details`` tells of the output of a head: the interval, and the rows that are answered worst."""
    scores = [f1(*pair) for pair in zip(said, right, strict=True)]
    wrong = [i for i, pair in enumerate(zip(said, right, strict=True)) if not exact_match(*pair)]
    worst = sorted(wrong, key=lambda i: scores[i])[:MOST_ERRORS]
    inputs = cell.product["inputs"]
    shown = {name: values(table, one["column"], rows[worst]) for name, one in inputs.items()} if worst else {}
    errors = [
        {
            "row": int(rows[i]) + 1,
            "input": {name: preview(column[place], "text") for name, column in shown.items()},
            "truth": preview(right[i], "text"),
            "answer": preview(said[i], "text"),
            "score": None,
        }
        for place, i in enumerate(worst)
    ]
    between = mean_interval(scores)
    return {"interval": between, "confusion": None, "num_wrong": len(wrong), "errors": errors}
