"""The leaderboard: every score beside its baselines, with the number of rows it was measured on."""

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from matrixhub.report.compare import BETTER, WORSE, headings, match_texts, matches
from matrixhub.report.figures import interval_text, score_text
from matrixhub.report.lines import Line, lines_of
from matrixhub.report.load import RunData, missing
from matrixhub.report.write import HTML

if TYPE_CHECKING:
    from matrixhub.run.launch import Run

Record = Mapping[str, Any]


def leaderboard(records: Sequence[Record]) -> Table:
    """One line for each output of each finished cell, best first within a product."""
    lines = lines_of(records)
    apart = any(line.apart for line in lines)
    between = any(line.interval for line in lines)
    table = Table(title="Leaderboard (test rows)", title_justify="left")
    for name, justify in (
        ("product", "left"), ("encoder", "left"), ("head", "left"), *([("with", "left")] if apart else []),
        ("metric", "left"), ("score", "right"), *([("95% interval", "left")] if between else []),
        ("baseline", "right"), ("of", "left"), ("test rows", "right"), ("train s", "right"),
    ):  # fmt: skip
        table.add_column(name, justify=justify, overflow="fold")  # type: ignore[arg-type]
    for line in lines:
        names = [line.product, line.record["encoder"], line.record["head"], *([line.apart] if apart else [])]
        figures = [score_text(line.score), *([interval_text(line.interval)] if between else [])]
        style = None if line.ahead else "yellow"
        table.add_row(*map(escape, [*names, line.label, *figures, *_beside(line)]), style=style)
    return table


def _beside(line: Line) -> list[str]:
    return [
        score_text(line.baseline),
        line.rival if line.ahead else f"{line.rival} (ahead)",
        f"{line.record['num_rows']['test']:,}",
        f"{line.record.get('train_seconds') or 0.0:.1f}",
    ]


def _console() -> Console:
    """Stdout. A pipe or a file gets the whole of a table, not one folded to 80 columns."""
    return Console(width=None if Console().is_terminal else 160)


def print_run(run: "Run") -> None:
    """The end of a run: leaderboard, notes, artifacts, where the report is, what to type next."""
    console = _console()
    done = [record for record in run.records if record["status"] == "done"]
    if done:
        console.print(leaderboard(done))
        for note in dict.fromkeys(f"{r['product']}: {note}" for r in done for note in r["notes"]):
            console.print(note, highlight=False, markup=False)
    for refusal in run.plan.refused:
        console.print(f"refused {refusal.name}: {' '.join(refusal.reasons)}", highlight=False, markup=False)
    if done:
        home = run.folder / "artifacts"
        _say(console, f"\nArtifacts in {nearby(home)}:")
        for record in done:
            path = Path(record["artifact"])
            _say(console, f"  {path.name if path.parent == home else nearby(path)}")
    if (run.folder / HTML).is_file():
        _say(console, f"Report: {nearby(run.folder / HTML)}")
    if done:
        best = Path(lines_of(done)[0].record["artifact"])
        _say(console, f"Next: matrixhub predict {nearby(best)} FILE")


def print_report(run: RunData) -> None:
    """What a run folder says: leaderboard, and the cells that have no place in it."""
    console = _console()
    if run.done:
        console.print(leaderboard(run.done))
    for kind, name, _, why in missing(run):
        console.print(f"{kind} {name}: {why}", highlight=False, markup=False)


def print_comparison(runs: Sequence[RunData]) -> None:
    """Several runs side by side."""
    table = Table(title="Runs compared (test rows)", title_justify="left")
    for name in headings(runs):
        table.add_column(name, overflow="fold")
    for match in matches(runs):
        style = {BETTER: "green", WORSE: "red"}.get(match.verdict)
        table.add_row(*map(escape, match_texts(match)), style=style)
    _console().print(table)


def _say(console: Console, text: str) -> None:
    """A line with a path in it, which may neither be coloured nor folded."""
    console.print(text, highlight=False, markup=False, soft_wrap=True)


def nearby(path: Path) -> str:
    """The path as seen from here, where that is shorter."""
    relative = os.path.relpath(path)
    return relative if len(relative) < len(str(path)) else str(path)
