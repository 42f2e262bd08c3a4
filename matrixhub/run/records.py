"""Records: one cell's outcome as plain, strict JSON."""

import json
import math
import traceback
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from matrixhub.errors import MatrixHubError
from matrixhub.plan import Cell

RECORDS, ERRORS = "records.jsonl", "errors.log"


def record_head(cell: Cell, status: str) -> dict[str, Any]:
    """What every record begins with; ``status`` is ``done`` or ``failed``."""
    return {
        "cell": cell.id,
        "name": cell.name,
        "product": cell.product["name"],
        "encoder": cell.encoder_label,
        "head": cell.head_label,
        "overrides": list(cell.overrides),
        "status": status,
    }


def failure_record(cell: Cell, error: Exception) -> dict[str, Any]:
    """The record of a cell that did not finish: its error and the exit code that goes with it."""
    known = isinstance(error, MatrixHubError)
    return {
        **record_head(cell, "failed"),
        "error": str(error) if known else f"{type(error).__name__}: {error}",
        "exit_code": error.exit_code if isinstance(error, MatrixHubError) else 1,
    }


def strict(value: Any) -> Any:
    """The same plain data with None for numbers that are not finite, which JSON does not have."""
    if isinstance(value, Mapping):
        return {key: strict(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [strict(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def append_record(folder: Path, record: Mapping[str, Any]) -> None:
    """Add a record to a run folder at once, so that a run that is killed later has lost nothing."""
    with (folder / RECORDS).open("a", encoding="utf-8") as file:
        file.write(json.dumps(record, ensure_ascii=False, allow_nan=False) + "\n")


def log_unexpected(folder: Path, cell: Cell, error: Exception) -> None:
    """The traceback of an error that nobody foresaw, for whoever mends it."""
    cause = error
    while isinstance(cause, MatrixHubError) and isinstance(cause.__cause__, Exception):
        cause = cause.__cause__
    if not isinstance(cause, MatrixHubError | OSError):
        with (folder / ERRORS).open("a", encoding="utf-8") as log:
            log.write(f"{cell.name}\n{''.join(traceback.format_exception(cause))}\n")
