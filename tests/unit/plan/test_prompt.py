"""Prompts: only the names of inputs between braces are special."""

import pickle
from typing import Any

import pytest

from matrixhub.errors import DataError
from matrixhub.plan.prompt import Prompt, fields, filled


def test_a_template_is_filled_row_by_row() -> None:
    columns: dict[str, list[Any]] = {"text": ["one", "{who}"], "who": [1, True]}
    assert filled("{who}: {text} {json: {}} {other}", columns, 2) == [
        "1: one {json: {}} {other}", "True: {who} {json: {}} {other}",
    ]  # fmt: skip
    assert fields("{text} {who} {text} {json: {}} {text.__class__}") == ["text", "who"]


def test_no_template_is_the_input_itself() -> None:
    assert filled(None, {"text": ["a", ["b", 2.5]]}, 2) == ["a", "b 2.5"]
    assert filled(None, {}, 2) == ["", ""]
    assert filled("A picture of", {}, 1) == ["A picture of"]


def test_what_is_no_text_names_its_row() -> None:
    with pytest.raises(DataError, match="row 2: a prompt takes texts and numbers, not bytes"):
        filled("{text}", {"text": ["a", b"b"]}, 2)


def test_a_prompt_knows_its_longest_value() -> None:
    columns = {"text": ["a long text", "x"], "who": ["me", "somebody"]}
    first, second = filled("{who} asks: {text}? {other}", columns, 2)
    assert isinstance(first, Prompt) and isinstance(second, Prompt)
    assert first.parts == ("me asks: ", "a long text", "? {other}")
    assert second.parts == ("", "somebody", " asks: x? {other}")
    assert pickle.loads(pickle.dumps(first)).parts == first.parts
