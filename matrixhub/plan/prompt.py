"""Prompt templates: text in which ``{INPUT}`` stands for an input's value, and nothing else is special."""

import re
from collections.abc import Mapping, Sequence
from typing import Any

from matrixhub.errors import DataError

_FIELD = re.compile(r"\{(\w+)\}")


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
    prompts = []
    for position, row in enumerate(zip(*columns.values(), strict=True)):
        texts = {name: text_of(value, position) for name, value in zip(names, row, strict=True)}
        prompts.append(_FIELD.sub(lambda found, texts=texts: texts.get(found[1], found[0]), template))  # type: ignore[misc]
    return prompts


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
