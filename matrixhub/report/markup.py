"""HTML and SVG from plain calls. What is not ``Html`` already is escaped: data never becomes markup."""

import html
import re

# Control characters are not allowed in HTML; the rest would reorder the text around them.
_UNSHOWABLE = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\ud800-\udfff]")


class Html(str):
    """Text that is markup."""

    __slots__ = ()


Child = str | int | float | None


def escaped(value: Child) -> Html:
    """A value as text, harmless anywhere in a page."""
    if isinstance(value, Html):
        return value
    return Html(
        html.escape(_UNSHOWABLE.sub("\N{REPLACEMENT CHARACTER}", "" if value is None else str(value)))
    )


def tag(name: str, *children: Child, **attributes: Child) -> Html:
    """An element. ``class_`` is ``class``, ``stroke_width`` is ``stroke-width``; None leaves one out."""
    given = "".join(
        f' {key.rstrip("_").replace("_", "-")}="{escaped(_short(value))}"'
        for key, value in attributes.items()
        if value is not None
    )
    return Html(f"<{name}{given}>{''.join(map(escaped, children))}</{name}>")


def joined(*parts: Child) -> Html:
    """Parts one after the other."""
    return Html("".join(map(escaped, parts)))


def _short(value: Child) -> Child:
    """Coordinates need no more than a tenth of a pixel."""
    return f"{value:.1f}".removesuffix(".0") if isinstance(value, float) else value
