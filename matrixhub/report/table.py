"""The leaderboard: every score beside its baselines, with the number of rows it was measured on."""

import math
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.table import Table

from matrixhub.plan.text import told_apart

if TYPE_CHECKING:
    from matrixhub.run.launch import Run

Record = Mapping[str, Any]


def leaderboard(records: Sequence[Record]) -> Table:
    """One line for each output of each finished cell, best first within a product."""
    table = Table(title="Leaderboard (test rows)", title_justify="left")
    lines = sorted(_lines(records), key=_order)
    apart = any(line["apart"] for line in lines)
    for name, justify in (
        ("product", "left"), ("encoder", "left"), ("head", "left"), *([("with", "left")] if apart else []),
        ("metric", "left"), ("score", "right"), ("baseline", "right"), ("of", "left"),
        ("test rows", "right"), ("train s", "right"),
    ):  # fmt: skip
        table.add_column(name, justify=justify, overflow="fold")  # type: ignore[arg-type]
    for line in lines:
        cells = [*line["who"], *([line["apart"]] if apart else []), *line["figures"]]
        table.add_row(*cells, style=None if line["ahead"] else "yellow")
    return table


def _lines(records: Sequence[Record]) -> list[dict[str, Any]]:
    lines = []
    done = [record for record in records if record["status"] == "done"]
    aparts = told_apart([(record["name"], record["overrides"]) for record in done])
    for record, apart in zip(done, aparts, strict=True):
        for output, metrics in record["metrics"].items():
            main = record["main"][output]
            score = metrics[main["metric"]]
            name, rival = best_baseline(record, output)
            sign = 1 if main["higher_is_better"] else -1
            ahead = rival is None or (score is not None and sign * (score - rival) >= 0)
            label = main["metric"] if len(record["metrics"]) == 1 else f"{output}.{main['metric']}"
            figures = [
                label, _shown(score), _shown(rival), name if ahead else f"{name} (ahead)",
                f"{record['num_rows']['test']:,}", f"{record['train_seconds']:.1f}",
            ]  # fmt: skip
            rank = math.inf if score is None else -sign * score
            who = (record["product"], record["encoder"], record["head"])
            lines.append({"who": who, "apart": apart, "figures": figures, "ahead": ahead, "rank": rank})
    return lines


def _shown(score: float | None) -> str:
    """A score; a dash for one that is none, such as a metric that is not defined on these rows."""
    return "-" if score is None else f"{score:.4f}"


def _order(line: Mapping[str, Any]) -> tuple[str, float]:
    return line["who"][0], line["rank"]


def best_baseline(record: Record, output: str) -> tuple[str, float | None]:
    """Name and score of the strongest baseline of an output, by its main metric."""
    main = record["main"][output]
    scores = {
        name: metrics[main["metric"]]
        for name, metrics in record["baselines"].get(output, {}).items()
        if metrics.get(main["metric"]) is not None
    }
    if not scores:
        return "-", None
    choose = max if main["higher_is_better"] else min
    name = choose(scores, key=lambda key: scores[key])
    return name, scores[name]


def print_run(run: "Run") -> None:
    """The end of a run: leaderboard, notes, where the artifacts are, what to type next."""
    # A pipe or a file gets the whole table, not one folded to 80 columns.
    console = Console(width=None if Console().is_terminal else 140)
    done = [record for record in run.records if record["status"] == "done"]
    if done:
        console.print(leaderboard(done))
        for note in dict.fromkeys(f"{r['product']}: {note}" for r in done for note in r["notes"]):
            console.print(note, highlight=False, markup=False)
    for refusal in run.plan.refused:
        console.print(f"refused {refusal.name}: {' '.join(refusal.reasons)}", highlight=False, markup=False)
    if done:
        console.print(f"\nArtifacts in {nearby(run.folder / 'artifacts')}:", highlight=False, soft_wrap=True)
        for record in done:
            console.print(f"  {Path(record['artifact']).name}", highlight=False, soft_wrap=True)
        first = nearby(Path(done[0]["artifact"]))
        console.print(f"Next: matrixhub predict {first} FILE", highlight=False, soft_wrap=True)


def nearby(path: Path) -> str:
    """The path as seen from here, where that is shorter."""
    relative = os.path.relpath(path)
    return relative if len(relative) < len(str(path)) else str(path)
