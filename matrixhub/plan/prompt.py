"""Prompt templates: text in which ``{INPUT}`` stands for an input's value, and nothing else is special."""

import re
from collections.abc import Mapping, Sequence
from typing import Any

from matrixhub.errors import DataError

_FIELD = re.compile(r"\{(\w+)\}")


class Prompt(str):
    """A prompt that knows which part of it may be cut where it is too long.

    Args:
        before, value, after: what stands before its longest value, that value, and what stands behind it.
    """

    __slots__ = ("parts",)
    parts: tuple[str, str, str]

    def __new__(cls, before: str, value: str, after: str) -> "Prompt":
        made = super().__new__(cls, f"{before}{value}{after}")
        made.parts = (before, value, after)
        return made

    def __getnewargs__(self) -> tuple[str, str, str]:  # type: ignore[override]
        return self.parts


def fields(template: str) -> list[str]:
    """Names between braces, each once."""
    return list(dict.fromkeys(_FIELD.findall(template)))


def filled(template: str | None, columns: Mapping[str, Sequence[Any]], num_rows: int) -> list[str]:
    """One prompt a row.

    Args:
        template: None is the value of the one input; without any, nothing.
        columns: values of each input that may stand in a prompt.
        num_rows: how many.

    Raises:
        DataError: a value that is neither text nor number; names the row.
    """
    names = list(columns)
    if not names:
        return [template or ""] * num_rows
    template = f"{{{names[0]}}}" if template is None else template
    prompts: list[str] = []
    for position, row in enumerate(zip(*columns.values(), strict=True)):
        texts = {name: text_of(value, position) for name, value in zip(names, row, strict=True)}
        prompts.append(_prompt(template, texts))
    return prompts


def _prompt(template: str, texts: Mapping[str, str]) -> Prompt:
    # What is between braces is every second part.
    parts = _FIELD.split(template)
    said = [texts.get(part, f"{{{part}}}") if place % 2 else part for place, part in enumerate(parts)]
    longest = max(range(1, len(said), 2), key=lambda place: len(said[place]), default=0)
    return Prompt("".join(said[:longest]), said[longest], "".join(said[longest + 1 :]))


def known(one: Mapping[str, Any], values: Sequence[Any]) -> Sequence[Any]:
    """Values of an input as a prompt has them: nothing stands in the place of one that is missing."""
    return ["" if value is None else value for value in values] if one.get("optional") else values


def text_of(value: Any, position: int) -> str:
    """A text or a number as text; several of them one after the other."""
    match value:
        case str():
            return value
        case bool() | int() | float():
            return str(value)
        case list() | tuple():
            return " ".join(text_of(one, position) for one in value)
    raise DataError(f"a prompt takes texts and numbers, not {type(value).__name__}", row=position)
