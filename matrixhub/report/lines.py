"""A finished cell's outputs as the lines of a leaderboard: score, interval, baseline, price."""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from matrixhub.plan.text import told_apart

Record = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Line:
    """One output of one finished cell.

    Attributes:
        record: of the cell.
        output: which of its outputs.
        apart: the overrides that tell it from cells of the same name; empty where there are none.
        metric: the main metric of the output.
        higher: whether more of it is better.
        score: on the test rows; None where the metric is not defined on them.
        interval: 95 % interval of the score; None where there are too few rows.
        rival, baseline: name and score of the best baseline; ``"-"`` and None without one.
    """

    record: Record
    output: str
    apart: str
    metric: str
    higher: bool
    score: float | None
    interval: tuple[float, float] | None
    rival: str
    baseline: float | None

    @property
    def product(self) -> str:
        return str(self.record["product"])

    @property
    def label(self) -> str:
        """The metric, with the output's name where the product has several."""
        return self.metric if len(self.record["metrics"]) == 1 else f"{self.output}.{self.metric}"

    @property
    def who(self) -> str:
        """Encoder, head and what else tells it apart."""
        return " · ".join(filter(None, (self.record["encoder"], self.record["head"], self.apart)))

    @property
    def ahead(self) -> bool:
        """False where a baseline does better."""
        return self.baseline is None or (self.score is not None and self.gain >= 0)

    @property
    def gain(self) -> float:
        """How much better than the baseline, in the metric's own unit; NaN without one of the two."""
        if self.score is None or self.baseline is None:
            return math.nan
        return self.score - self.baseline if self.higher else self.baseline - self.score

    @property
    def rank(self) -> float:
        """The smaller, the better."""
        if self.score is None:
            return math.inf
        return -self.score if self.higher else self.score

    @property
    def errors_removed(self) -> float | None:
        """Share of the baseline's errors that the cell does not make, below 0 where it makes more.

        None where the metric has no best value to measure errors by.
        """
        if self.score is None or self.baseline is None:
            return None
        room = self.baseline if not self.higher else 1 - self.baseline if self.score <= 1 else 0.0
        return self.gain / room if room > 0 else None

    @property
    def detail(self) -> Record:
        """Confusion matrix and worst errors; empty in a record that has none."""
        found: Record = self.record.get("outputs", {}).get(self.output, {})
        return found

    @property
    def latency_ms(self) -> float | None:
        """Of one row."""
        found: float | None = self.record.get("latency_ms")
        return found

    @property
    def num_parameters(self) -> int | None:
        """Of all its parts together."""
        counts = self.record.get("parameters")
        return sum(count for part, count in counts.items() if part != "trained") if counts else None


def lines_of(records: Sequence[Record]) -> list[Line]:
    """One line for each output of each finished cell, best first within a product and output."""
    done = [record for record in records if record["status"] == "done"]
    aparts = told_apart([(record["name"], record["overrides"]) for record in done])
    found = [
        _line(record, output, apart)
        for record, apart in zip(done, aparts, strict=True)
        for output in record["metrics"]
    ]
    place = {output: i for record in done for i, output in enumerate(record["metrics"])}
    return sorted(found, key=lambda line: (line.product, place[line.output], line.rank))


def by_product(lines: Iterable[Line]) -> dict[tuple[str, str], list[Line]]:
    """Lines that can be compared with each other, by product and output, in their order."""
    groups: dict[tuple[str, str], list[Line]] = {}
    for line in lines:
        groups.setdefault((line.product, line.output), []).append(line)
    return groups


def _line(record: Record, output: str, apart: str) -> Line:
    main = record["main"][output]
    rival, baseline = best_baseline(record, output)
    between = record.get("outputs", {}).get(output, {}).get("interval")
    return Line(
        record=record,
        output=output,
        apart=apart,
        metric=main["metric"],
        higher=main["higher_is_better"],
        score=record["metrics"][output].get(main["metric"]),
        interval=(between[0], between[1]) if between else None,
        rival=rival,
        baseline=baseline,
    )


def best_baseline(record: Record, output: str) -> tuple[str, float | None]:
    """Name and score of the strongest baseline of an output, by its main metric."""
    main = record["main"][output]
    scores = {
        name: metrics[main["metric"]]
        for name, metrics in record.get("baselines", {}).get(output, {}).items()
        if metrics.get(main["metric"]) is not None
    }
    if not scores:
        return "-", None
    choose = max if main["higher_is_better"] else min
    name = choose(scores, key=lambda key: scores[key])
    return name, scores[name]
