"""``report.md``: the leaderboard and what is missing from it, for a pull request or a wiki."""

import re
from collections.abc import Sequence

from matrixhub.report.cells import command_text
from matrixhub.report.figures import bytes_text, count_text, interval_text, ms_text, score_text, seconds_text
from matrixhub.report.lines import Line, by_product, lines_of
from matrixhub.report.load import RunData, missing
from matrixhub.report.page import summary

HEADINGS = (
    "product", "encoder", "head", "metric", "score", "95 % interval", "baseline", "train", "latency",
    "parameters", "size",
)  # fmt: skip


def run_markdown(run: RunData) -> str:
    """The report of one run, the best cell of each product first and starred."""
    lines = lines_of(run.records)
    parts = [f"# Run {plain(run.folder.name)}", summary(run)]
    if lines:
        rows = [row for group in by_product(lines).values() for row in _rows(group)]
        parts += ["## Leaderboard (test rows)", table(HEADINGS, rows)]
    without = [(name, kind, why) for kind, name, _, why in missing(run)]
    if without:
        parts += ["## Refused and failed", table(("cell", "what happened", "why"), without)]
    if lines:
        typed = {str(line.record["cell"]): command_text(run, line.record["overrides"]) for line in lines}
        parts += ["## Commands", "\n".join(f"    {command}" for command in typed.values())]
    packages = run.facts.get("packages") or {}
    told = [f"{name} {version}" for name, version in packages.items()]
    told += [f"{key} {run.facts[key]}" for key in ("python", "platform", "cpu") if key in run.facts]
    if told:
        parts += ["## Environment", plain(", ".join(told))]
    return "\n\n".join(parts) + "\n"


def table(headings: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table of plain texts."""
    head = [f"| {' | '.join(headings)} |", f"|{'---|' * len(headings)}"]
    return "\n".join([*head, *(f"| {' | '.join(map(plain, row))} |" for row in rows)])


def plain(text: str) -> str:
    """A text on one line in which nothing is markup."""
    return re.sub(r"([\\`*_\[\]<>|#~&])", r"\\\1", " ".join(str(text).split()))


def _rows(group: Sequence[Line]) -> list[list[str]]:
    return [
        [
            f"{'★ ' if line is group[0] else ''}{line.product}",
            str(line.record["encoder"]),
            " ".join(filter(None, (str(line.record["head"]), line.apart))),
            line.label,
            score_text(line.score),
            interval_text(line.interval),
            "-" if line.baseline is None else f"{score_text(line.baseline)} {_named(line)}",
            seconds_text(line.record.get("train_seconds")),
            ms_text(line.latency_ms),
            count_text(line.num_parameters),
            bytes_text(line.record.get("artifact_bytes")),
        ]
        for line in group
    ]


def _named(line: Line) -> str:
    return line.rival if line.ahead else f"{line.rival} (ahead)"
