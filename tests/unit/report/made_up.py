"""Run folders made by hand: what a report reads is plain data."""

import copy
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

RECORD: dict[str, Any] = {
    "cell": "ab12", "name": "news-minilm-linear", "product": "news", "encoder": "minilm", "head": "linear",
    "overrides": ["product=news", "head=linear"], "status": "done",
    "metrics": {"topic": {"accuracy": 0.9, "macro_f1": 0.88}},
    "main": {"topic": {"metric": "accuracy", "higher_is_better": True}},
    "baselines": {"topic": {"majority class": {"accuracy": 0.5}, "TF-IDF + linear": {"accuracy": 0.8}}},
    "num_rows": {"train": 800, "validation": 100, "test": 200}, "notes": ["3 rows were cut."],
    "epochs": [
        {"epoch": 1, "train_loss": 1.0, "loss": 0.9, "topic.accuracy": 0.7},
        {"epoch": 2, "train_loss": 0.5, "loss": 0.6, "topic.accuracy": 0.9},
    ],
    "best_epoch": 2, "num_steps": 20, "train_seconds": 1.5, "artifact": "/runs/1/artifacts/news",
    "outputs": {
        "topic": {
            "interval": [0.85, 0.94],
            "confusion": {"classes": ["sport", "tech"], "counts": [[90, 8], [12, 90]]},
            "num_wrong": 20,
            "errors": [
                {"row": 41, "input": {"text": "新机在巴塞罗那。"}, "truth": "tech", "answer": "sport",
                 "score": 0.97}
            ],
        }
    },
    "parameters": {"encoder": 22_600_000, "head": 770, "trained": 770}, "latency_ms": 7.25,
    "artifact_bytes": 91_000_000,
}  # fmt: skip


def record(**changes: Any) -> dict[str, Any]:
    """A finished cell; ``score`` and ``interval`` stand for the figures of its one output."""
    made = copy.deepcopy(RECORD)
    if "score" in changes:
        made["metrics"]["topic"]["accuracy"] = changes.pop("score")
    if "interval" in changes:
        made["outputs"]["topic"]["interval"] = changes.pop("interval")
    return {**made, **changes}


def failed(**changes: Any) -> dict[str, Any]:
    keys = ("cell", "name", "product", "encoder", "head", "overrides")
    return {
        **{key: RECORD[key] for key in keys},
        "status": "failed",
        "error": "boom",
        "exit_code": 1,
        **changes,
    }


def run_folder(folder: Path, records: Sequence[dict[str, Any]], **plan: Any) -> Path:
    """A run folder with these records; keywords go into its plan."""
    folder.mkdir(parents=True, exist_ok=True)
    lines = [json.dumps(one, ensure_ascii=False) + "\n" for one in records]
    (folder / "records.jsonl").write_text("".join(lines), encoding="utf-8")
    cells = [{"id": one["cell"], "name": one["name"], "overrides": one["overrides"]} for one in records]
    whole = {"cells": cells, "refused": [], **plan}
    (folder / "plan.json").write_text(json.dumps(whole, ensure_ascii=False), encoding="utf-8")
    return folder


def matrix(num_products: int = 10, num_encoders: int = 5, num_heads: int = 2) -> list[dict[str, Any]]:
    """A big matrix: as many finished cells as the three numbers make."""
    return [
        record(
            cell=f"{p:02}{e:02}{h:02}", name=f"product_{p}-encoder_{e}-head_{h}", product=f"product_{p}",
            encoder=f"encoder_{e}", head=f"head_{h}", overrides=[f"product=product_{p}"],
            score=0.6 + 0.03 * p + 0.01 * e + 0.001 * h, latency_ms=3.0 * 2**e + h,
        )
        for p in range(num_products)
        for e in range(num_encoders)
        for h in range(num_heads)
    ]  # fmt: skip
