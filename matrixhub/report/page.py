"""``report.html``: one file that needs nothing else, made from what the run folder holds."""

import base64
import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from matrixhub.report.cells import (
    cells_section,
    command_text,
    confusion_section,
    definitions,
    errors_section,
)
from matrixhub.report.figures import seconds_text
from matrixhub.report.lines import lines_of
from matrixhub.report.load import RunData, missing
from matrixhub.report.markup import Child, Html, joined, tag
from matrixhub.report.overview import curves_section, leaderboard_section, matrix_section, price_section
from matrixhub.report.parts import Section, scrolling, section

STYLE, SCRIPT = (Path(__file__).with_name(name) for name in ("style.css", "sort.js"))


def run_page(run: RunData) -> str:
    """The report of one run."""
    lines = lines_of(run.records)
    sections = [
        leaderboard_section(lines) if lines else None,
        matrix_section(lines) if lines else None,
        price_section(lines),
        curves_section(lines),
        confusion_section(lines),
        errors_section(lines),
        refused_section(run),
        cells_section(run, lines),
        environment_section(run),
    ]
    return page(f"Run {run.folder.name}", summary(run), [one for one in sections if one is not None])


def page(title: str, lead: Child, sections: Sequence[Section]) -> str:
    """A whole document. Its policy allows the style and the script within, and nothing from anywhere else."""
    script = SCRIPT.read_text(encoding="utf-8")
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    policy = f"default-src 'none'; style-src 'unsafe-inline'; script-src 'sha256-{digest}'; img-src data:"
    head = joined(
        Html('<meta charset="utf-8">'),
        Html(f'<meta http-equiv="Content-Security-Policy" content="{policy}">'),
        Html('<meta name="viewport" content="width=device-width, initial-scale=1">'),
        Html('<meta name="color-scheme" content="light dark">'),
        Html('<link rel="icon" href="data:,">'),
        tag("title", f"{title} · MatrixHub"),
        tag("style", Html(STYLE.read_text(encoding="utf-8"))),
    )
    body = joined(
        tag("header", tag("p", "MatrixHub", class_="brand"), tag("h1", title), tag("p", lead, class_="lead")),
        tag("nav", *(tag("a", one.title, href=f"#{one.name}") for one in sections), aria_label="sections"),
        tag("main", *(one.html for one in sections)),
        tag("script", Html(script)),
    )
    return f"<!doctype html>\n{tag('html', tag('head', head), tag('body', body), lang='en')}\n"


def summary(run: RunData) -> str:
    """What became of the cells, in a line."""
    counted = (
        (len(run.done), "trained"), (len(run.failed), "failed"), (len(run.refused), "refused"),
        (len(run.unfinished), "not reached"),
    )  # fmt: skip
    parts = [f"{count} {name}" for count, name in counted if count]
    trained = sum(record.get("train_seconds") or 0.0 for record in run.done)
    parts += [f"{len({record['product'] for record in run.done})} products"] if run.done else []
    parts += [f"{seconds_text(trained)} of training"] if run.done else []
    started = run.facts.get("started")
    return " · ".join([*(parts or ["no cell has finished"]), *([str(started)] if started else [])])


def refused_section(run: RunData) -> Section | None:
    """Cells without a result, each with its reason."""
    rows = missing(run)
    if not rows:
        return None
    header = tag("tr", *(tag("th", name, scope="col") for name in ("cell", "what happened", "why")))
    body = [
        tag(
            "tr",
            tag("th", name, tag("small", tag("code", command_text(run, list(overrides)))), scope="row"),
            tag(
                "td",
                f"{'✕' if kind == 'failed' else '–'} {kind}",
                class_="failed" if kind == "failed" else None,
            ),
            tag("td", tag("bdi", why), class_="why"),
        )
        for kind, name, overrides, why in rows
    ]
    lead = "Failed cells tried and could not finish; refused ones cannot work and were never tried."
    table = tag("table", tag("thead", header), tag("tbody", *body), class_="refused")
    return section("refused", "Refused and failed", lead, scrolling(table))


def environment_section(run: RunData) -> Section:
    """Where it ran, with what, and the command of the whole run."""
    facts = run.facts
    told: list[tuple[str, Child]] = [
        (key, _plain(facts[key])) for key in facts if key not in ("argv", "packages")
    ]
    packages = facts.get("packages")
    if isinstance(packages, Mapping):
        told += [(str(name), str(version)) for name, version in packages.items()]
    else:
        used = {
            name: v for cell in run.plan.get("cells", ()) for name, v in cell.get("distributions", {}).items()
        }
        told += list(used.items())
    told.append(("run folder", run.folder.name))
    argv = [str(word) for word in facts.get("argv", ())]
    content = [tag("pre", tag("code", facts["command"]), tabindex=0)] if facts.get("command") and argv else []
    return section("environment", "Environment", "", definitions(told), *content)


def _plain(value: Any) -> str:
    return ", ".join(map(str, value)) if isinstance(value, list) else str(value)
