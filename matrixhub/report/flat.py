"""Records as one flat table: a row for each output of each cell, for a notebook or a spreadsheet."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from matrixhub.report.lines import Line, lines_of
from matrixhub.report.load import RunData

TEXTS = (
    "cell",
    "product",
    "encoder",
    "head",
    "overrides",
    "status",
    "output",
    "metric",
    "rival",
    "error",
    "artifact",
)
NUMBERS = ("score", "low", "high", "baseline", "train_seconds", "latency_ms")
COUNTS = ("train_rows", "validation_rows", "test_rows", "num_parameters", "artifact_bytes")
COLUMNS = (*TEXTS, *NUMBERS, *COUNTS, "higher_is_better", "metrics")


def flat_rows(run: RunData) -> list[dict[str, Any]]:
    """One mapping for each output of a finished cell, one for each failed, refused or unreached cell.

    The keys are ``COLUMNS``; ``metrics`` is a JSON text of all of an output's metrics.
    """
    rows = [_line(line) for line in lines_of(run.records)]
    rows += [_cell(one, "failed", one["error"]) for one in run.failed]
    rows += [_cell(one, "refused", " ".join(one["reasons"])) for one in run.refused]
    rows += [_cell(one, "not reached", None) for one in run.unfinished]
    return [{key: row.get(key) for key in COLUMNS} for row in rows]


def write_parquet(rows: Sequence[dict[str, Any]], path: Path) -> None:
    """The rows as a parquet file whose column types do not depend on them."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    types = {
        **dict.fromkeys(TEXTS, pa.string()),
        **dict.fromkeys(NUMBERS, pa.float64()),
        **dict.fromkeys(COUNTS, pa.int64()),
        "higher_is_better": pa.bool_(),
        "metrics": pa.string(),
    }
    schema = pa.schema([(name, types[name]) for name in COLUMNS])
    pq.write_table(pa.Table.from_pylist(list(rows), schema=schema), path)


def _cell(one: Any, status: str, error: str | None) -> dict[str, Any]:
    known = {key: str(one[key]) for key in ("cell", "encoder", "head") if isinstance(one.get(key), str)}
    product = one.get("product") if isinstance(one.get("product"), str) else one["name"]
    return {
        **known,
        "product": product,
        "overrides": " ".join(one["overrides"]),
        "status": status,
        "error": error,
    }


def _line(line: Line) -> dict[str, Any]:
    record = line.record
    low, high = line.interval or (None, None)
    return {
        **{key: record[key] for key in ("cell", "product", "encoder", "head", "status")},
        "overrides": " ".join(record["overrides"]),
        "output": line.output,
        "metric": line.metric,
        "higher_is_better": line.higher,
        "score": line.score,
        "low": low,
        "high": high,
        "rival": None if line.baseline is None else line.rival,
        "baseline": line.baseline,
        "metrics": json.dumps(record["metrics"][line.output], ensure_ascii=False),
        **{f"{split}_rows": count for split, count in record["num_rows"].items()},
        "train_seconds": record.get("train_seconds"),
        "latency_ms": line.latency_ms,
        "num_parameters": line.num_parameters,
        "artifact_bytes": record.get("artifact_bytes"),
        "artifact": record.get("artifact"),
    }
