"""Data to pixels: nice ticks on linear and logarithmic axes."""

import math
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Scale:
    """Maps data from ``low`` to ``high`` to pixels from ``start`` to ``end``.

    Attributes:
        log: whether equal factors, not equal differences, are equally far apart.
    """

    low: float
    high: float
    start: float
    end: float
    log: bool = False

    def __call__(self, value: float) -> float:
        low, high, value = (math.log(v) if self.log else v for v in (self.low, self.high, value))
        return self.start + (self.end - self.start) * (value - low) / (high - low)

    @property
    def ticks(self) -> list[float]:
        """A few round values within it."""
        return log_ticks(self.low, self.high) if self.log else linear_ticks(self.low, self.high)


def padded(values: Sequence[float], start: float, end: float) -> Scale:
    """A linear scale with some air around the values, but not above 1, where shares end."""
    low, high = min(values), max(values)
    air = max((high - low) * 0.08, max(abs(low), abs(high)) * 0.005) or 1.0
    return Scale(low - air, 1.0 if high <= 1 < high + air else high + air, start, end)


def padded_log(values: Sequence[float], start: float, end: float) -> Scale:
    """A logarithmic scale with some air around the values, which are above 0."""
    low, high = min(values), max(values)
    air = max((high / low) ** 0.12, 1.3)
    return Scale(low / air, high * air, start, end, log=True)


def linear_ticks(low: float, high: float, most: int = 5) -> list[float]:
    """At most ``most`` multiples of 1, 2 or 5 times a power of ten."""
    rough = (high - low) / most
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(power * times for times in (1, 2, 5, 10) if power * times >= rough * (1 - 1e-9))
    first = math.ceil(low / step - 1e-9)
    return [round(i * step, 12) for i in range(first, math.floor(high / step + 1e-9) + 1)]


def log_ticks(low: float, high: float) -> list[float]:
    """Powers of ten, with doubles and halves where there is room; round values on a short axis."""
    if high / low < 4:
        return linear_ticks(low, high)
    first, last = math.floor(math.log10(low)), math.ceil(math.log10(high))
    times = (1, 2, 5) if last - first <= 3 else (1,)
    found = [t * 10.0**power for power in range(first, last + 1) for t in times]
    return [tick for tick in found if low <= tick <= high]


def tick_text(value: float) -> str:
    """A tick in as few digits as it has."""
    return f"{value:,.10g}" if abs(value) >= 1e-4 or value == 0 else f"{value:.0e}"
