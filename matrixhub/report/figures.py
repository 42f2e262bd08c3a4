"""Numbers as people read them."""


def score_text(score: float | None) -> str:
    """A score; a dash for one that is none, such as a metric that is not defined on these rows."""
    return "-" if score is None else f"{score:.4f}"


def interval_text(interval: tuple[float, float] | None) -> str:
    """From and to, in the digits that an interval is worth."""
    return "-" if interval is None else f"{interval[0]:.3f} to {interval[1]:.3f}"


def count_text(number: float | None) -> str:
    """In thousands, millions or billions, three digits."""
    return _scaled(number, 1000, ("", "k", "M", "B", "T"))


def bytes_text(number: float | None) -> str:
    """In kB, MB or GB, three digits."""
    return _scaled(number, 1000, (" B", " kB", " MB", " GB", " TB"))


def ms_text(number: float | None) -> str:
    """Milliseconds, three digits."""
    return "-" if number is None else f"{_three(number)} ms"


def seconds_text(seconds: float | None) -> str:
    """Seconds, or minutes where there are many."""
    if seconds is None:
        return "-"
    if seconds < 100:
        return f"{seconds:.1f} s"
    return f"{int(seconds) // 60} min {int(seconds) % 60:02} s"


def _scaled(number: float | None, step: int, units: tuple[str, ...]) -> str:
    if number is None:
        return "-"
    if abs(number) < step:
        return f"{number:.0f}{units[0]}"
    for unit in units[:-1]:
        if abs(number) < step - 0.5:
            return f"{_three(number)}{unit}"
        number /= step
    return f"{_three(number)}{units[-1]}"


def _three(number: float) -> str:
    return (
        f"{number:.0f}"
        if abs(number) >= 99.5
        else f"{number:.1f}"
        if abs(number) >= 9.95
        else f"{number:.2f}"
    )
