"""Plots as inline SVG: pure functions of numbers. Colours come from the page's style sheet, by class.

Every plot says in its title and description what it shows; points say who they are; nothing is told by
colour alone.
"""

import unicodedata
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from matrixhub.report.figures import ms_text, score_text
from matrixhub.report.markup import Html, joined, tag
from matrixhub.report.scales import Scale, padded, padded_log, tick_text

WIDTH, HEIGHT = 380, 260
LEFT, RIGHT, TOP, BOTTOM = 52, 14, 32, 42
MOST_LABELS = 6

SHAPES = (
    "M-5,0a5,5 0 1,0 10,0a5,5 0 1,0 -10,0Z",  # circle
    "M-4.5,-4.5h9v9h-9Z",  # square
    "M0,-5.8L5.4,4.2H-5.4Z",  # triangle
    "M0,-6.2L6.2,0L0,6.2L-6.2,0Z",  # diamond
    "M-1.8,-5.4h3.6v3.6h3.6v3.6h-3.6v3.6h-3.6v-3.6h-3.6v-3.6h3.6Z",  # cross
    "M0,5.8L5.4,-4.2H-5.4Z",  # triangle, upside down
)


@dataclass(frozen=True, slots=True)
class Point:
    """A cell in the plot of quality against latency.

    Attributes:
        label: who it is, in full.
        short: the same in a word or two, for the place beside it.
        group: points of one group (an encoder) share a shape.
        x, y: milliseconds a row, score.
        best: whether no other point is both faster and better.
    """

    label: str
    short: str
    group: str
    x: float
    y: float
    best: bool


@dataclass(frozen=True, slots=True)
class Curve:
    """A line of a plot over epochs.

    Attributes:
        label: what it is.
        values: one an epoch; None where there is none.
        strong: whether it is the one to look at.
        mark: index of the epoch that was kept.
    """

    label: str
    values: Sequence[float | None]
    strong: bool = False
    mark: int | None = None


def frontier(points: Sequence[tuple[float, float]], *, higher: bool) -> list[bool]:
    """For each (cost, score): whether none is both cheaper and better."""
    sign = 1 if higher else -1
    return [
        not any(
            (x <= cost and sign * y >= sign * score) and (x, y) != (cost, score) for x, y in points
        )
        for cost, score in points
    ]  # fmt: skip


def scatter(points: Sequence[Point], *, title: str, metric: str, groups: Sequence[str]) -> Html:
    """Score against milliseconds a row, on a logarithmic axis; the best for their price are joined.

    The shape of a point is the place of its group in ``groups``, as in ``legend``.
    """
    across = padded_log([point.x for point in points], LEFT, WIDTH - RIGHT)
    up = padded([point.y for point in points], HEIGHT - BOTTOM, TOP)
    best = sorted((point for point in points if point.best), key=lambda point: point.x)
    line = " ".join(f"{across(point.x):.1f},{up(point.y):.1f}" for point in best)
    marks = [
        tag(
            "path",
            tag("title", f"{point.label}: {score_text(point.y)} {metric}, {ms_text(point.x)}"),
            d=SHAPES[groups.index(point.group) % len(SHAPES)],
            transform=f"translate({across(point.x):.1f} {up(point.y):.1f})",
            class_="mark best" if point.best else "mark",
        )
        for point in sorted(points, key=lambda point: point.best)
    ]
    told = "; ".join(f"{point.label} {score_text(point.y)} at {ms_text(point.x)}" for point in best)
    return _plot(
        title,
        f"{len(points)} cells. The best for their time: {told}.",
        _axes(across, up, across_name="ms for one row", up_name=metric),
        tag("polyline", points=line, class_="frontier"),
        *marks,
        *_labels(best[-MOST_LABELS:], across, up),
    )


def legend(groups: Iterable[str]) -> Html:
    """Which shape is which group."""
    keys = [
        tag(
            "span",
            tag("svg", tag("path", d=shape, class_="mark"), viewBox="-7 -7 14 14", aria_hidden="true"),
            group,
        )
        for group, shape in zip(dict.fromkeys(groups), SHAPES * 20, strict=False)
    ]
    return tag("p", *keys, class_="legend")


def curves(lines: Sequence[Curve], *, title: str, measure: str) -> Html:
    """Figures over epochs, counted from 1; the strong line is named, its kept epoch is marked."""
    finite = [value for line in lines for value in line.values if value is not None]
    longest = max(len(line.values) for line in lines)
    across = Scale(1, max(longest, 2), LEFT, WIDTH - RIGHT - 8)
    up = padded(finite, HEIGHT - BOTTOM, TOP)
    drawn = [_curve(line, across, up) for line in sorted(lines, key=lambda line: line.strong)]
    told = "; ".join(
        f"{line.label} ends at {score_text(next((v for v in reversed(line.values) if v is not None), None))}"
        for line in lines[:8]
    )
    return _plot(
        title,
        f"{measure} over {longest} epochs: {told}.",
        _axes(across, up, across_name="epoch", up_name=measure),
        *drawn,
    )


def strip(
    score: float, interval: tuple[float, float] | None, baseline: float | None, *, low: float, high: float
) -> Html:
    """A score as a dot, its interval as a line, the baseline as a tick; on a scale from low to high."""
    at = Scale(low, high if high > low else low + 1, 6, 134)
    told = f"score {score_text(score)}"
    marks: list[Html] = [tag("line", x1=6, x2=134, y1=10, y2=10, class_="rail")]
    if interval:
        told += f", 95 % interval {score_text(interval[0])} to {score_text(interval[1])}"
        marks.append(tag("line", x1=at(interval[0]), x2=at(interval[1]), y1=10, y2=10, class_="reach"))
    if baseline is not None:
        told += f", best baseline {score_text(baseline)}"
        marks.append(tag("line", x1=at(baseline), x2=at(baseline), y1=3, y2=17, class_="rival"))
    marks.append(tag("circle", cx=at(score), cy=10, r=4.5, class_="mark best"))
    return tag(
        "svg", tag("title", told), *marks, class_="strip", viewBox="0 0 140 20", role="img", aria_label=told
    )


def _curve(line: Curve, across: Scale, up: Scale) -> Html:
    points = [(across(i + 1), up(value)) for i, value in enumerate(line.values) if value is not None]
    kind = "curve strong" if line.strong else "curve"
    path = tag(
        "polyline",
        tag("title", line.label),
        points=" ".join(f"{x:.1f},{y:.1f}" for x, y in points),
        class_=kind,
    )
    marked = line.values[line.mark] if line.mark is not None and line.mark < len(line.values) else None
    if line.mark is None or marked is None:
        return path
    told = tag("title", f"{line.label}: epoch {line.mark + 1} was kept, {score_text(marked)}")
    kept = tag("circle", told, cx=across(line.mark + 1), cy=up(marked), r=4.5, class_="mark best")
    return joined(path, kept)


def _plot(title: str, description: str, *content: Html) -> Html:
    return tag(
        "svg",
        tag("title", title),
        tag("desc", description),
        *content,
        class_="plot",
        viewBox=f"0 0 {WIDTH} {HEIGHT}",
        role="img",
        aria_label=f"{title}. {description}",
    )


def _axes(across: Scale, up: Scale, *, across_name: str, up_name: str) -> Html:
    """Grid lines, ticks and the names of both axes."""
    bottom = HEIGHT - BOTTOM
    parts = []
    for tick in up.ticks:
        y = up(tick)
        parts += [
            tag("line", x1=LEFT, x2=WIDTH - RIGHT, y1=y, y2=y, class_="grid"),
            tag("text", tick_text(tick), x=LEFT - 7, y=y + 4, class_="tick end"),
        ]
    for tick in _apart(across):
        parts += [
            tag("line", x1=across(tick), x2=across(tick), y1=bottom, y2=bottom + 4, class_="axis"),
            tag("text", tick_text(tick), x=across(tick), y=bottom + 17, class_="tick middle"),
        ]
    return joined(
        *parts,
        tag("line", x1=LEFT, x2=WIDTH - RIGHT, y1=bottom, y2=bottom, class_="axis"),
        tag("text", across_name, x=(LEFT + WIDTH - RIGHT) / 2, y=HEIGHT - 8, class_="name middle"),
        tag("text", up_name, x=10, y=16, class_="name"),
    )  # fmt: skip


def _apart(scale: Scale) -> list[float]:
    """Ticks far enough from each other to be read."""
    kept: list[float] = []
    for tick in scale.ticks:
        if (scale.log or tick.is_integer()) and (not kept or abs(scale(tick) - scale(kept[-1])) >= 34):
            kept.append(tick)
    return kept


def _labels(points: Sequence[Point], across: Scale, up: Scale) -> list[Html]:
    """Names beside points, on the side with room, each at least a line below the one above it."""
    found: list[Html] = []
    taken: list[float] = []
    for point in sorted(points, key=lambda point: -point.y):
        x, spot = across(point.x), up(point.y) + 4
        while any(abs(spot - other) < 13 for other in taken):
            spot += 13
        if spot > HEIGHT - BOTTOM:
            continue
        taken.append(spot)
        right = x < WIDTH / 2
        text = _fitting(point.short, (WIDTH - x if right else x) - 14)
        side = "label" if right else "label end"
        found.append(tag("text", text, x=x + 10 if right else x - 10, y=spot, class_=side))
    return found


def _fitting(text: str, room: float) -> str:
    """As much of a text as fits into a width, by what letters take on average."""
    used = 0.0
    for i, letter in enumerate(text):
        used += 12.5 if unicodedata.east_asian_width(letter) in "WF" else 7.2
        if used > room:
            return f"{text[: max(i - 1, 0)]}…"
    return text
