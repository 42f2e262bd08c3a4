"""The sections about single cells: confusions, worst errors, and everything that is known of each."""

import shlex
from collections.abc import Mapping, Sequence
from typing import Any

from matrixhub.report.charts import Curve, curves
from matrixhub.report.figures import bytes_text, count_text, interval_text, ms_text, score_text, seconds_text
from matrixhub.report.lines import Line, by_product
from matrixhub.report.load import RunData
from matrixhub.report.markup import Child, Html, joined, tag
from matrixhub.report.overview import panel_title
from matrixhub.report.parts import Section, panel, scrolling, section

MOST_PAIRS = 6
"""Pairs of classes told of a cell that is not the best of its product."""


def confusion_section(lines: Sequence[Line]) -> Section | None:
    """Which class was taken for which, by the best cell of each product."""
    best = [group[0] for group in by_product(lines).values() if group[0].detail.get("confusion")]
    if not best:
        return None
    return section(
        "confusion",
        "Confusion matrices",
        "The best cell of each product: rows are the true classes, columns the answers, fields count test "
        "rows (words, where words are tagged). The diagonal is right.",
        tag(
            "div",
            *(
                panel(f"{panel_title(one)}: {one.who}", confusion_table(one.detail["confusion"]))
                for one in best
            ),
            class_="panels wide",
        ),
    )


def confusion_table(confusion: Mapping[str, Any]) -> Html:
    """Counts, coloured by their share of the true class."""
    classes, counts = confusion["classes"], confusion["counts"]
    header = tag(
        "tr",
        tag("th", "true ↓ answer →", scope="col"),
        *(tag("th", tag("span", name), scope="col", title=name) for name in classes),
        tag("th", tag("span", "recall"), scope="col", class_="sum"),
    )
    rows = []
    for i, (name, row) in enumerate(zip(classes, counts, strict=True)):
        total = sum(row)
        fields = [_count(count, total, right=i == j) for j, count in enumerate(row)]
        recall = f"{row[i] / total:.3f}" if total else "-"
        rows.append(
            tag("tr", tag("th", name, scope="row", title=name), *fields, tag("td", recall, class_="sum"))
        )
    return scrolling(tag("table", tag("thead", header), tag("tbody", *rows), class_="confusion"))


def _count(count: int, total: int, *, right: bool) -> Html:
    if not count:
        return tag("td", "0", class_="zero")
    share = count / total
    step = (4 if share >= 0.75 else 3 if share >= 0.5 else 2 if share >= 0.25 else 1) if right else 0
    return tag(
        "td", count, class_=f"p{step}" if right else "n2" if share >= 0.1 else "n1", title=f"{share:.1%}"
    )


def errors_section(lines: Sequence[Line]) -> Section | None:
    """The rows that the best cell of each product answers worst."""
    best = [group[0] for group in by_product(lines).values() if group[0].detail.get("errors")]
    if not best:
        return None
    return section(
        "errors",
        "Worst errors",
        "The test rows that the best cell of each product gets wrong with most confidence, or by most. "
        "Rows are counted from 1 in the source's table. Some may be labelled wrong.",
        *(panel(f"{panel_title(one)}: {one.who}{_how_many(one)}", errors_table(one)) for one in best),
    )


def _how_many(line: Line) -> str:
    wrong = line.detail.get("num_wrong")
    rows = line.record["num_rows"]["test"]
    return "" if wrong is None else f" ({wrong:,} of {rows:,} test rows wrong)"


def errors_table(line: Line) -> Html:
    """One line for each row: where it is, what it is, what was said, how surely where that is known."""
    errors = line.detail["errors"]
    sure = any(error["score"] is not None for error in errors)
    header = tag(
        "tr",
        tag("th", "row", scope="col", class_="number"),
        *(tag("th", name, scope="col") for name in ("input", "truth", "answer")),
        tag("th", "confidence", scope="col", class_="number") if sure else None,
    )
    rows = [
        tag(
            "tr",
            tag("td", f"{error['row']:,}", class_="number"),
            tag("td", *_inputs(error["input"]), class_="input"),
            tag("td", bdi(answer_text(error["truth"])), data_label="truth"),
            tag("td", bdi(answer_text(error["answer"])), data_label="answer"),
            tag("td", _sureness(error["score"]), class_="number", data_label="confidence") if sure else None,
        )
        for error in errors
    ]
    return scrolling(tag("table", tag("thead", header), tag("tbody", *rows), class_="errors"))


def _sureness(score: float | None) -> str:
    return "-" if score is None else f"{score:.2f}"


def _inputs(found: Mapping[str, str]) -> list[Html]:
    several = len(found) > 1
    return [tag("div", tag("b", f"{name}: ") if several else None, bdi(text)) for name, text in found.items()]


def bdi(text: str) -> Html:
    """Text of any language and direction, kept from turning the text around it."""
    return tag("bdi", text)


def answer_text(value: Any) -> str:
    """A label, labels, tags or a number."""
    if isinstance(value, list):
        return ", ".join(map(str, value)) or "(none)"
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def cells_section(run: RunData, lines: Sequence[Line]) -> Section | None:
    """Every finished cell, folded."""
    by_cell: dict[str, list[Line]] = {}
    for line in lines:
        by_cell.setdefault(line.record["cell"], []).append(line)
    if not by_cell:
        return None
    best = {group[0].record["cell"] for group in by_product(lines).values()}
    return section(
        "cells",
        "Every cell",
        "How each was trained, what it confuses, what it costs, and the command that makes it again.",
        *(_cell(run, found, is_best=cell in best) for cell, found in by_cell.items()),
    )


def _cell(run: RunData, lines: Sequence[Line], *, is_best: bool) -> Html:
    record = lines[0].record
    scores = ", ".join(f"{line.label} {score_text(line.score)}" for line in lines)
    return tag(
        "details",
        tag(
            "summary",
            tag("b", f"{'★ ' if is_best else ''}{record['product']}"), " ", lines[0].who,
            tag("span", scores, class_="scores"),
        ),
        tag(
            "div", _losses(record), _facts(record, lines), *_lists(lines, is_best=is_best), class_="cell",
        ),
        command(run, record),
        id=f"cell-{record['cell']}",
    )  # fmt: skip


def _losses(record: Mapping[str, Any]) -> Html | None:
    epochs = record.get("epochs") or []
    kept = record.get("best_epoch") or 0
    training = [epoch.get("train_loss") for epoch in epochs]
    watched = [epoch.get("loss") for epoch in epochs]
    drawn = [Curve("training", training)]
    if any(value is not None for value in watched):
        drawn.append(Curve("validation", watched, strong=True, mark=kept - 1 if kept else None))
    if all(value is None for line in drawn for value in line.values):
        return None
    title = f"{record['name']}: loss"
    return panel("loss: training (thin) and validation" if len(drawn) > 1 else "training loss",
                 curves(drawn, title=title, measure="loss"))  # fmt: skip


def _facts(record: Mapping[str, Any], lines: Sequence[Line]) -> Html:
    told: list[tuple[str, str]] = []
    for line in lines:
        metrics = record["metrics"][line.output]
        prefix = f"{line.output}: " if len(lines) > 1 else ""
        told.append((f"{prefix}test scores", ", ".join(f"{k} {score_text(v)}" for k, v in metrics.items())))
        told.append((f"{prefix}95 % interval", interval_text(line.interval)))
        told += [
            (f"{prefix}{name}", ", ".join(f"{k} {score_text(v)}" for k, v in found.items()))
            for name, found in record.get("baselines", {}).get(line.output, {}).items()
        ]
    rows, counts = record["num_rows"], record.get("parameters")
    told.append(("rows", ", ".join(f"{rows[name]:,} {name}" for name in ("train", "validation", "test"))))
    if counts:
        told.append(("parameters", ", ".join(f"{count_text(n)} {name}" for name, n in counts.items())))
    told += [
        ("trained", _training(record)),
        ("one row", ms_text(lines[0].latency_ms)),
        ("on disk", bytes_text(record.get("artifact_bytes"))),
        ("cell id", str(record["cell"])),
    ]  # fmt: skip
    if record.get("from_run"):
        told.append(("taken over from", f"run {record['from_run']}"))
    told += [("note", note) for note in record.get("notes", ())]
    return definitions(told)


def _training(record: Mapping[str, Any]) -> str:
    spent, epochs = seconds_text(record.get("train_seconds")), record.get("epochs")
    if not epochs:
        return spent
    return f"{spent}, {record.get('num_steps')} steps, epoch {record.get('best_epoch')} of {len(epochs)} kept"


def definitions(told: Sequence[tuple[str, Child]]) -> Html:
    """Terms and what they are."""
    pairs = [joined(tag("dt", term), tag("dd", bdi(str(value)))) for term, value in told]
    return tag("dl", *pairs)


def _lists(lines: Sequence[Line], *, is_best: bool) -> list[Html]:
    """Confusions and errors of a cell that has no place of its own above."""
    if is_best:
        return []
    found = []
    for line in lines:
        prefix = f"{line.output}: " if len(lines) > 1 else ""
        pairs = most_confused(line.detail.get("confusion"))
        if pairs:
            items = [
                tag("li", bdi(truth), " taken for ", bdi(answer), f": {count:,}")
                for truth, answer, count in pairs
            ]
            found += [tag("h4", f"{prefix}most confused"), tag("ul", *items)]
        if line.detail.get("errors"):
            found += [tag("h4", f"{prefix}worst errors"), errors_table(line)]
    return found


def most_confused(confusion: Mapping[str, Any] | None) -> list[tuple[str, str, int]]:
    """(true class, answer, how often) of the most frequent confusions."""
    if not confusion:
        return []
    classes = confusion["classes"]
    pairs = [
        (classes[i], classes[j], count)
        for i, row in enumerate(confusion["counts"])
        for j, count in enumerate(row)
        if i != j and count
    ]
    return sorted(pairs, key=lambda pair: -pair[2])[:MOST_PAIRS]


def command(run: RunData, record: Mapping[str, Any]) -> Html:
    """What to type to make a cell again."""
    return tag("pre", tag("code", command_text(run, record["overrides"])), tabindex=0)


def command_text(run: RunData, overrides: Sequence[str]) -> str:
    """A command line of one cell, with the config folders that the run was given."""
    argv = [str(word) for word in run.facts.get("argv", ())]
    folders: list[str] = []
    for i, word in enumerate(argv):
        if word == "--config-dir" and i + 1 < len(argv):
            folders += [word, argv[i + 1]]
        elif word.startswith("--config-dir="):
            folders.append(word)
    return shlex.join(["matrixhub", "run", *folders, *overrides])
