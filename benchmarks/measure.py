"""Shared by all benchmarks: sides timed in turn, a table of medians and ratios, JSON."""

import argparse
import json
import os
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table


def in_turn(sides: dict[str, Callable[[], object]], *, rounds: int) -> dict[str, list[float]]:
    """Seconds of each side, A B A B …, after one warm-up of each."""
    seconds: dict[str, list[float]] = {name: [] for name in sides}
    for work in sides.values():
        work()
    for _ in range(rounds):
        for name, work in sides.items():
            started = time.perf_counter()
            work()
            seconds[name].append(time.perf_counter() - started)
    return seconds


def ratio(seconds: dict[str, list[float]], slow: str, fast: str) -> float:
    """How many times ``slow`` takes the time of ``fast``: the median over rounds of the ratio in each."""
    return statistics.median(a / b for a, b in zip(seconds[slow], seconds[fast], strict=True))


def accuracy(features: Any, labels: list[Any]) -> float:
    """Percent right of a linear probe, trained and scored in five parts in turn."""
    from sklearn.linear_model import LogisticRegression
    from sklearn.model_selection import StratifiedKFold, cross_val_score
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    probe = make_pipeline(StandardScaler(), LogisticRegression(max_iter=1000))
    parts = StratifiedKFold(5, shuffle=True, random_state=0)
    return 100 * float(cross_val_score(probe, features, labels, cv=parts).mean())


def chosen_setting() -> str:
    """What the search chose, out of the cache folder of this benchmark."""
    found = [json.loads(f.read_text()) for f in Path(os.environ["MATRIXHUB_CACHE"]).glob("settings/*.json")]
    settings = [one["setting"] for one in found if one["setting"]]
    return ", ".join(f"{k}={v}" for k, v in settings[0].items()) if settings else "as built: too few rows"


def report(title: str, rows: list[dict[str, object]], json_file: Path | None) -> None:
    """Print rows as a table; write them as JSON when a file is named."""
    table = Table(title=title, title_justify="left")
    for name in rows[0]:
        table.add_column(name)
    for row in rows:
        table.add_row(*(f"{v:.4g}" if isinstance(v, float) else str(v) for v in row.values()))
    Console(width=120).print(table)
    if json_file:
        json_file.write_text(json.dumps({"title": title, "rows": rows}, indent=1))


def arguments(doc: str, **defaults: int) -> argparse.Namespace:
    """``--json`` and integer options with these defaults."""
    parser = argparse.ArgumentParser(description=doc)
    parser.add_argument("--json", type=Path)
    for name, value in defaults.items():
        parser.add_argument(f"--{name}", type=int, default=value)
    return parser.parse_args()
