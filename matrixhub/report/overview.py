"""The sections that compare cells: leaderboard, matrix, quality against latency, learning curves."""

from collections.abc import Sequence

from matrixhub.report.charts import Curve, Point, curves, frontier, legend, scatter, strip
from matrixhub.report.figures import (
    bytes_text,
    count_text,
    interval_text,
    ms_text,
    score_text,
    seconds_text,
)
from matrixhub.report.lines import Line, by_product
from matrixhub.report.markup import Html, tag
from matrixhub.report.parts import Section, number, panel, scrolling, section

GREY_CURVES = 12
"""Curves drawn behind the best one; more would be a smear."""

STEPS = ((0.75, "p4"), (0.5, "p3"), (0.25, "p2"), (0.0, "p1"), (-0.25, "n1"))
"""Shares of the baseline's errors that a cell removes, from the first on, and the class of that colour."""


def leaderboard_section(lines: Sequence[Line]) -> Section:
    """One line for each output of each cell; a click on a heading sorts."""
    heads = (
        ("cell", ""), ("score", "number"), ("95 % interval, baseline", ""), ("best baseline", "number"),
        ("train", "number"), ("latency", "number"), ("parameters", "number"), ("size", "number"),
    )  # fmt: skip
    header = tag("tr", *(tag("th", name, scope="col", class_=kind or None) for name, kind in heads))
    rows = []
    for group in by_product(lines).values():
        low, high = _span(group)
        rows += [_leader(line, low, high, first=line is group[0]) for line in group]
    return section(
        "leaderboard",
        "Leaderboard",
        "Scores on the test rows. The dot is the score, the bar its 95 % interval, the tick the best simple "
        "baseline; all cells of a product share one scale. ★ marks the best cell of a product, ▼ one that a "
        "baseline beats.",
        scrolling(tag("table", tag("thead", header), tag("tbody", *rows), class_="sortable leaders")),
    )


def _leader(line: Line, low: float, high: float, *, first: bool) -> Html:
    record, score = line.record, line.score
    mark = tag("span", "★ ", title="best of its product") if first else None
    rival = line.rival if line.ahead else f"▼ {line.rival} is ahead"
    drawn = None if score is None else strip(score, line.interval, line.baseline, low=low, high=high)
    prices = (
        ("train", record.get("train_seconds"), seconds_text),
        ("latency", line.latency_ms, ms_text),
        ("parameters", line.num_parameters, count_text),
        ("size", record.get("artifact_bytes"), bytes_text),
    )
    return tag(
        "tr",
        tag("th", mark, _link(line), tag("small", line.who), scope="row"),
        number(score, score_text(score), note=line.label),
        tag(
            "td", drawn, tag("small", interval_text(line.interval)),
            data_sort=line.interval[0] if line.interval else None,
        ),
        number(line.baseline, score_text(line.baseline), note=rival, kind="" if line.ahead else "behind"),
        *(number(value, show(value), kind="price", label=name) for name, value, show in prices),
    )  # fmt: skip


def _link(line: Line) -> Html:
    return tag("a", line.product, href=f"#cell-{line.record['cell']}")


def _span(lines: Sequence[Line]) -> tuple[float, float]:
    """From the lowest to the highest figure that any of them shows."""
    shown = [
        value
        for line in lines
        for value in (line.score, line.baseline, *(line.interval or ()))
        if value is not None
    ]
    return (min(shown), max(shown)) if shown else (0.0, 1.0)


def matrix_section(lines: Sequence[Line]) -> Section:
    """Products by encoders, each field the best head there."""
    groups = by_product(lines)
    encoders = sorted({str(line.record["encoder"]) for line in lines})
    header = tag("tr", tag("th", "product", scope="col"), *(tag("th", e, scope="col") for e in encoders))
    rows = []
    for (product, output), group in groups.items():
        several = len(group[0].record["metrics"]) > 1
        fields = []
        for encoder in encoders:
            best = next((line for line in group if line.record["encoder"] == encoder), None)
            fields.append(_field(best))
        name = f"{product} · {output}" if several else product
        rows.append(tag("tr", tag("th", name, tag("small", group[0].metric), scope="row"), *fields))
    return section(
        "matrix",
        "The matrix",
        "The best head of each product on each encoder, with its errors against those of the best simple "
        "baseline.",
        scrolling(tag("table", tag("thead", header), tag("tbody", *rows), class_="heat")),
        _heat_key(),
    )


def _field(line: Line | None) -> Html:
    if line is None:
        return tag("td", "·", class_="none", title="no such cell")
    removed = line.errors_removed
    return tag(
        "td",
        tag("a", tag("b", score_text(line.score)), href=f"#cell-{line.record['cell']}"),
        tag("small", line.record["head"]),
        tag("small", errors_text(removed)),
        class_=heat(removed),
    )


def errors_text(removed: float | None) -> str:
    """A share of the baseline's errors, as more or fewer of them."""
    if removed is None:
        return ""
    # Rounded, 99.6 would say that no error is left.
    share = min(removed, 0.99) if removed < 1 else removed
    return f"{abs(share):.0%} {'fewer' if removed >= 0 else 'more'} errors"


def heat(removed: float | None) -> str | None:
    """The class of the colour for a share of errors removed."""
    if removed is None:
        return None
    return next((name for least, name in STEPS if removed >= least), "n2")


def _heat_key() -> Html:
    named = (
        ("n2", "over 25% more errors"), ("n1", "more"), ("p1", "fewer"), ("p2", "25% fewer"),
        ("p3", "50% fewer"), ("p4", "75% fewer"),
    )  # fmt: skip
    return tag("p", *(tag("span", tag("i", class_=kind), text) for kind, text in named), class_="legend key")


def price_section(lines: Sequence[Line]) -> Section | None:
    """One plot for each product of its cells' scores against the time of one row."""
    timed = [line for line in lines if line.score is not None and line.latency_ms]
    if not timed:
        return None
    groups = list(dict.fromkeys(str(line.record["encoder"]) for line in timed))
    return section(
        "price",
        "Quality against latency",
        "Upper left is better: a higher score in less time for one row, from raw value to answer. The line "
        "joins the cells that no other one beats in both."
        if all(line.higher for line in timed)
        else "A better score in less time for one row, from raw value to answer. The line joins the cells "
        "that no other one beats in both.",
        legend(groups),
        tag("div", *(_price(group, groups) for group in by_product(timed).values()), class_="panels"),
    )


def _price(group: Sequence[Line], encoders: Sequence[str]) -> Html:
    pairs = [(line.latency_ms or 0.0, line.score or 0.0) for line in group]
    best = frontier(pairs, higher=group[0].higher)
    points = [
        Point(line.who, _short(line), str(line.record["encoder"]), x, y, is_best)
        for line, (x, y), is_best in zip(group, pairs, best, strict=True)
    ]
    title = panel_title(group[0])
    return panel(title, scatter(points, title=f"{title}: quality against latency", metric=group[0].metric,
                                groups=encoders))  # fmt: skip


def _short(line: Line) -> str:
    """The name beside a point, whose shape says the encoder already."""
    return " ".join(filter(None, (str(line.record["head"]), line.apart)))


def curves_section(lines: Sequence[Line]) -> Section | None:
    """One plot for each product of what was watched over the epochs, its best cell in front."""
    panels = []
    for group in by_product(lines).values():
        drawn = [
            found for line in group[: GREY_CURVES + 1] if (found := _learned(line, strong=line is group[0]))
        ]
        if not drawn or not any(value is not None for one, _ in drawn for value in one.values):
            continue
        title, measure = panel_title(group[0]), drawn[0][1]
        same = [one for one, what in drawn if what == measure]
        panels.append(panel(title, curves(same, title=f"{title}: learning curves", measure=measure)))
    if not panels:
        return None
    return section(
        "curves",
        "Learning curves",
        "Validation figures over the epochs (the training loss where there are no validation rows): the best "
        "cell of each product in front, others behind it. The dot is the epoch that was kept.",
        tag("div", *panels, class_="panels"),
    )


def _learned(line: Line, *, strong: bool) -> tuple[Curve, str] | None:
    """A cell's curve of its main metric and what that is called; None without epochs."""
    epochs = line.record.get("epochs") or []
    if not epochs:
        return None
    names = {
        f"{line.output}.{line.metric}": f"validation {line.metric}",
        "loss": "validation loss",
        "train_loss": "training loss",
    }
    key, name = next((key, name) for key, name in names.items() if key in epochs[0] or key == "train_loss")
    kept = line.record.get("best_epoch") or 0
    values = [epoch.get(key) for epoch in epochs]
    return Curve(line.who, values, strong=strong, mark=kept - 1 if strong and kept else None), name


def panel_title(line: Line) -> str:
    """The product, with the output where it has several."""
    return line.product if len(line.record["metrics"]) == 1 else f"{line.product} · {line.output}"
