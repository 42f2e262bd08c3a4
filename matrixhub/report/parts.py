"""What pages are put together from: sections, plots with a heading, tables that scroll, sorted fields."""

from dataclasses import dataclass

from matrixhub.report.markup import Child, Html, tag


def panel(title: str, *content: Child) -> Html:
    """A plot or table with its heading."""
    return tag("figure", tag("figcaption", title), *content)


@dataclass(frozen=True, slots=True)
class Section:
    """A part of the page that can be linked to.

    Attributes:
        name: its id.
        title: its heading.
        html: all of it.
    """

    name: str
    title: str
    html: Html


def section(name: str, title: str, lead: str, *content: Child) -> Section:
    """A section with its heading and, where there is one, a sentence on how to read it."""
    heading = tag("h2", title, id=f"{name}-title")
    told = tag("p", lead, class_="lead") if lead else None
    whole = tag("section", heading, told, *content, id=name, aria_labelledby=f"{name}-title")
    return Section(name, title, whole)


def scrolling(table: Html) -> Html:
    """A table that scrolls within the page, by keyboard too, where the screen is narrow."""
    return tag("div", table, class_="scroll", tabindex=0, role="region", aria_label="table")


def number(value: float | None, shown: str, *, note: str = "", kind: str = "", label: str = "") -> Html:
    """A field of a table that is sorted by its value; its label shows where the heading does not."""
    return tag(
        "td",
        shown,
        tag("small", note) if note else None,
        class_=f"number {kind}".rstrip(),
        data_sort=None if value is None else repr(float(value)),
        data_label=label or None,
    )
