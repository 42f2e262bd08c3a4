"""The leaderboard: every score beside its baselines, with the number of rows it was measured on."""

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich import box
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from matrixhub.report.compare import BETTER, WORSE, headings, match_texts, matches
from matrixhub.report.figures import interval_text, score_text
from matrixhub.report.lines import Line, lines_of
from matrixhub.report.load import RunData, missing
from matrixhub.report.write import HTML
from matrixhub.types import RETRIEVAL

if TYPE_CHECKING:
    from matrixhub.run.launch import Run

Record = Mapping[str, Any]

WIDE = 120
"""Columns of a terminal that has room for all of the leaderboard."""


def leaderboard(records: Sequence[Record], *, width: int = 160) -> Table:
    """One line for each output of each finished cell, best first within a product.

    Args:
        records: of finished cells.
        width: of the terminal; a narrow one gets fewer columns, and no number is ever folded.
    """
    lines = lines_of(records)
    is_wide = width >= WIDE
    table = Table(
        title="Leaderboard (test rows)", title_justify="left", box=box.HEAVY_HEAD if is_wide else None
    )
    shown = [
        column
        for column in _COLUMNS
        if (is_wide or column.narrow) and any(column.text(line) != column.empty for line in lines)
    ]
    for column in shown:
        justify: Any = "right" if column.is_number else "left"
        table.add_column(column.name, justify=justify, no_wrap=column.is_number, overflow="fold")
    for line in lines:
        texts = (escape(column.text(line)) for column in shown)
        table.add_row(*texts, style=None if line.ahead else "yellow")
    return table


@dataclass(frozen=True, slots=True)
class _Column:
    """One column: what it says of a line, whether a narrow terminal has it too, and what leaves it out."""

    name: str
    text: Callable[[Line], str]
    is_number: bool = False
    narrow: bool = True
    empty: str | None = None


_COLUMNS = (
    _Column("product", lambda line: line.product),
    _Column("encoder", lambda line: str(line.record["encoder"])),
    _Column("head", lambda line: str(line.record["head"])),
    _Column("with", lambda line: line.apart, empty=""),
    _Column("metric", lambda line: line.label, narrow=False),
    _Column("score", lambda line: score_text(line.score), is_number=True),
    _Column("95% interval", lambda line: interval_text(line.interval), narrow=False, empty="-"),
    _Column("baseline", lambda line: score_text(line.baseline), is_number=True),
    _Column("of", lambda line: line.rival if line.ahead else f"{line.rival} (ahead)"),
    _Column("test rows", lambda line: f"{line.record['num_rows']['test']:,}", is_number=True),
    _Column(
        "train s",
        lambda line: f"{line.record.get('train_seconds') or 0.0:.1f}",
        is_number=True,
        narrow=False,
    ),
)


def _console() -> Console:
    """Stdout. A pipe or a file gets the whole of a table, not one folded to 80 columns."""
    return Console(width=None if Console().is_terminal else 160)


def print_run(run: "Run") -> None:
    """The end of a run: leaderboard, notes, artifacts, where the report is, what to type next."""
    console = _console()
    done = [record for record in run.records if record["status"] == "done"]
    if done:
        console.print(leaderboard(done, width=console.width))
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
        best = lines_of(done)[0].record
        products = [cell.product for cell in run.plan.cells.values() if cell.id == best["cell"]]
        finds = any(one.get("task") == RETRIEVAL for made in products for one in made["outputs"].values())
        verb = "index" if finds else "predict"
        _say(console, f"Next: matrixhub {verb} {nearby(Path(best['artifact']))} FILE")


def print_report(run: RunData) -> None:
    """What a run folder says: leaderboard, and the cells that have no place in it."""
    console = _console()
    if run.done:
        console.print(leaderboard(run.done, width=console.width))
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
