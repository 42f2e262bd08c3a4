"""Several runs side by side: the same cells, what got better, what got worse."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from matrixhub.report.figures import score_text
from matrixhub.report.lines import Line, lines_of
from matrixhub.report.load import RunData
from matrixhub.report.markdown import table as markdown_table
from matrixhub.report.markup import Html, tag
from matrixhub.report.page import page
from matrixhub.report.parts import number, scrolling, section

BETTER, WORSE, SAME, MAYBE_BETTER, MAYBE_WORSE, ALONE = (
    "▲ better", "▼ worse", "= same", "▲ better, within the interval", "▼ worse, within the interval",
    "· not in both",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Match:
    """One output of one cell in every run.

    Attributes:
        lines: by run; None where the run has no such cell, or it did not finish.
    """

    lines: tuple[Line | None, ...]

    @property
    def shown(self) -> Line:
        """Any of them, for its names."""
        return next(line for line in self.lines if line is not None)

    @property
    def change(self) -> float | None:
        """Score of the last run less that of the first; None where one has none."""
        first, last = self.lines[0], self.lines[-1]
        if first is None or last is None or first.score is None or last.score is None:
            return None
        return last.score - first.score

    @property
    def verdict(self) -> str:
        """Of the last run against the first. A change that leaves both intervals is more than chance."""
        first, last, change = self.lines[0], self.lines[-1], self.change
        if first is None or last is None or change is None:
            return ALONE
        if change == 0:
            return SAME
        better = (change > 0) == first.higher
        if _within(last.score, first.interval) or _within(first.score, last.interval):
            return MAYBE_BETTER if better else MAYBE_WORSE
        return BETTER if better else WORSE


def _within(score: float | None, interval: tuple[float, float] | None) -> bool:
    return score is not None and interval is not None and interval[0] <= score <= interval[1]


def matches(runs: Sequence[RunData]) -> list[Match]:
    """Outputs of the same cells, in the order of the first run that has them.

    Cells are the same by their id, or else (another version, other rows) by what was typed for them.
    """
    found: dict[Any, list[Line | None]] = {}
    keys: dict[Any, Any] = {}
    for place, run in enumerate(runs):
        for line in lines_of(run.records):
            names = _names(line)
            key = next((keys[name] for name in names if name in keys), names[0])
            keys.update(dict.fromkeys(names, key))
            found.setdefault(key, [None] * len(runs))[place] = line
    return [Match(tuple(lines)) for lines in found.values()]


def _names(line: Line) -> list[tuple[str, ...]]:
    record = line.record
    typed = (record["name"], line.output, line.metric, *sorted(record["overrides"]))
    return [(record["cell"], line.output, line.metric), typed]


def headings(runs: Sequence[RunData]) -> list[str]:
    """Of every form of the comparison."""
    return ["product", "cell", "metric", *labels(runs), "change", "verdict"]


def labels(runs: Sequence[RunData]) -> list[str]:
    """The name of each run's folder; its number too where that is not enough to tell them apart."""
    names = [run.folder.name for run in runs]
    return [name if names.count(name) == 1 else f"{i + 1}: {name}" for i, name in enumerate(names)]


def comparison_markdown(runs: Sequence[RunData]) -> str:
    """For a pull request."""
    rows = [match_texts(match) for match in matches(runs)]
    return f"# Runs compared\n\n{markdown_table(headings(runs), rows)}\n"


def comparison_page(runs: Sequence[RunData]) -> str:
    """One HTML file, as a run's report is."""
    header = tag("tr", *(tag("th", name, scope="col") for name in headings(runs)))
    rows = [_row(match) for match in matches(runs)]
    table = tag("table", tag("thead", header), tag("tbody", *rows), class_="sortable")
    lead = "The same cells on their test rows. A change is that of the last run against the first one."
    names = ", ".join(labels(runs))
    return page("Runs compared", names, [section("comparison", "Cells side by side", lead, scrolling(table))])


def comparison_rows(runs: Sequence[RunData]) -> list[dict[str, Any]]:
    """As plain data."""
    names = labels(runs)
    return [
        {
            "product": match.shown.product,
            "cell": match.shown.who,
            "output": match.shown.output,
            "metric": match.shown.metric,
            "scores": {
                name: None if line is None else line.score
                for name, line in zip(names, match.lines, strict=True)
            },
            "change": match.change,
            "verdict": match.verdict.partition(" ")[2],
        }
        for match in matches(runs)
    ]


def match_texts(match: Match) -> list[str]:
    """A line of the comparison, as ``headings`` says."""
    scores = [score_text(line.score if line else None) for line in match.lines]
    change = "-" if match.change is None else f"{match.change:+.4f}"
    return [match.shown.product, match.shown.who, match.shown.label, *scores, change, match.verdict]


def _row(match: Match) -> Html:
    product, who, label, *_, change, verdict = match_texts(match)
    found = [line.score if line else None for line in match.lines]
    scores = [number(score, score_text(score)) for score in found]
    kind = {BETTER: "good", WORSE: "failed"}.get(match.verdict)
    return tag(
        "tr", tag("th", product, scope="row"), tag("td", who), tag("td", label), *scores,
        number(match.change, change), tag("td", verdict, class_=kind),
    )  # fmt: skip
