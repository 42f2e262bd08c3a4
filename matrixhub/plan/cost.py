"""What a plan will cost, by what the same work took in earlier runs. What no run has done has no estimate."""

import json
import statistics
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

from matrixhub.plan.build import Plan
from matrixhub.plan.cell import Cell, digest
from matrixhub.plan.history import FROM_RUN, Record, read_records

RUNS = 10
"""So many of the newest runs are looked at."""


def estimate(plan: Plan) -> dict[str, float]:
    """Seconds by key of the stages that an earlier run under ``plan.output_dir`` has done like.

    A train stage is like one of the same source, inputs, outputs, encoders and head, a generate stage like
    one of the same generator; an encode stage is the same encoder over the same column. A record says of the
    latter
    ``{"encode": {key: {"seconds", "rows"}}}``.
    """
    if not plan.stages:
        return {}
    seen: dict[str, list[float]] = defaultdict(list)
    for cell, record in _earlier(Path(plan.output_dir)):
        for key, fact in record.get("encode", {}).items():
            seen[key] += [fact["seconds"]] if fact["rows"] else []  # else all of them were stored
        spent = [record[key] for key in ("train_seconds", "generate_seconds") if key in record]
        seen[_work(cell)] += [sum(spent)] if spent else []
    found = {}
    for stage in plan.stages:
        key = _work(plan.cells[stage.cell]) if stage.cell else stage.key
        if seen[key]:
            found[stage.key] = round(statistics.median(seen[key]), 3)
    return found


def total(plan: Plan) -> float | None:
    """Seconds of all encode, train and generate stages; None where those of one are not known."""
    costly = [stage.key for stage in plan.stages if stage.cell or stage.kind == "encode"]
    if not all(key in plan.seconds for key in costly):
        return None
    return sum(plan.seconds[key] for key in costly)


def _earlier(output_dir: Path) -> Iterator[tuple[Cell, Record]]:
    """Cells that the newest runs did themselves, and their records."""
    for path in sorted(output_dir.glob("*/plan.json"), reverse=True)[:RUNS]:
        try:
            cells = Plan.from_dict(json.loads(path.read_text(encoding="utf-8"))).cells
        except (ValueError, KeyError, TypeError):  # broken, or written by another version
            continue
        for record in read_records(path.parent):
            if record["status"] == "done" and FROM_RUN not in record and record["cell"] in cells:
                yield cells[record["cell"]], record


def _work(cell: Cell) -> str:
    product = {**cell.product, "name": None, "split": None}
    if not cell.head:
        return digest(["generate", cell.source, product, cell.generator, cell.generate, cell.trainer])
    trains = [cell.training, cell.trainer.get("trainable_layers"), cell.joint]
    return digest(["train", cell.source, product, cell.encoder, cell.head["name"], trains])
