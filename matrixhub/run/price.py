"""What a cell costs to use: parameters, the time of one row, bytes on disk."""

import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import torch

from matrixhub.data.columns import Rows, present_rows, values
from matrixhub.data.splits import Splits
from matrixhub.plan import Cell
from matrixhub.plan.cell import digest
from matrixhub.protocols import Encoder
from matrixhub.run.encode import to_device
from matrixhub.run.model import ProductModel
from matrixhub.types import Features

TIMED_ROWS = 5
"""Rows that are timed one by one, after one that warms up; the fastest counts, for what else the machine does
can only add to it."""

Latencies = dict[str, tuple[float, Features]]
"""By hash of rows, encoder and level: ms of one row, and its features; each is timed once a run."""


def num_parameters(model: ProductModel) -> dict[str, int]:
    """Numbers in the ``encoder`` and the ``head`` (fusion included), and how many were ``trained``."""
    encoders, readout = list(model.encoders.parameters()), list(model.readout.parameters())
    return {
        "encoder": sum(p.numel() for p in encoders),
        "head": sum(p.numel() for p in readout),
        "trained": sum(p.numel() for p in [*encoders, *readout] if p.requires_grad),
    }


@torch.inference_mode()
def latency_ms(
    cell: Cell, model: ProductModel, table: pa.Table, *, splits: Splits, latencies: Latencies
) -> float:
    """Milliseconds from one raw row to its outputs, on the model's device; the fastest of a few test rows."""
    device = next(model.parameters()).device
    total, features = 0.0, {}
    for name, one in cell.product["inputs"].items():
        options = cell.encoder[one["modality"]]
        key = digest([cell.source, one["column"], cell.level, options])
        if key not in latencies:
            rows = timed_rows(one, table, splits.test, words=cell.level == "tokens")
            encoder: Any = model.encoders[one["modality"]]
            latencies[key] = time_encoder(encoder, rows, device)
        spent, features[name] = latencies[key]
        total += spent
    times = []
    for _ in range(TIMED_ROWS + 1):
        started = time.perf_counter()
        outputs, _mask = model.readout(features)
        next(iter(outputs.values())).cpu()
        times.append(time.perf_counter() - started)
    return total + 1000 * min(times[1:])


def timed_rows(one: Mapping[str, Any], table: pa.Table, rows: Rows, *, words: bool = False) -> list[Any]:
    """Values of an input to time an encoder by: of these rows, or of any that have it where some lack it."""
    present = present_rows(table, one)
    has_it = rows if present is None else np.flatnonzero(present)
    return values(table, one["column"], has_it[: TIMED_ROWS + 1], words=words, nulls=True)


@torch.inference_mode()
def time_encoder(encoder: Encoder, rows: list[Any], device: torch.device) -> tuple[float, Features]:
    """Milliseconds from a raw value to its features, the fastest of these, and features of the last one."""
    times = []
    for value in [rows[0], *rows] if len(rows) == 1 else rows:
        started = time.perf_counter()
        batch = encoder.processor.collate(encoder.processor.prepare([value]))
        features = encoder(to_device(batch, device))
        features.pooled_BD.cpu()  # waits for an accelerator
        times.append(time.perf_counter() - started)
    return 1000 * min(times[1:]), features


def artifact_bytes(folder: Path) -> int:
    """Bytes of all files of an artifact; one that shares files with another counts them too."""
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
