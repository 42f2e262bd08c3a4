"""A product called from Python: one row or many, in whichever way a row is written."""

import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

import matrixhub as mh
from tests.toys import record_of

RED, BLUE = "the tiny red car today", "a huge blue boat here"


def product(run: mh.Run, name: str, head: str = "linear") -> Any:
    return mh.load(record_of(run, name, head)["artifact"])


def image(colour: tuple[int, int, int]) -> Image.Image:
    return Image.new("RGB", (8, 8), colour)


def test_one_row_or_a_list(trained: mh.Run) -> None:
    colour = product(trained, "colour")
    one = colour(RED)
    assert one.value == "red"
    assert one.score == one.scores["red"] > 0.5
    assert sum(one.scores.values()) == pytest.approx(1, abs=1e-5)
    assert [answer.value for answer in colour([RED, BLUE])] == ["red", "blue"]
    assert colour([]) == []
    assert "colour-hash-linear" in repr(colour)


def test_a_row_as_a_mapping_of_columns_or_inputs(pairs: mh.Run) -> None:
    pair, crossed = product(pairs, "pair", "mlp"), product(pairs, "crossed", "mlp")
    by_column = {"text": RED, "other": "the sofa was red", "unused": 3}
    ways = [by_column, {"first": RED, "second": "the sofa was red"}, (RED, "the sofa was red")]
    values = [pair(row).scores["true"] for row in ways]
    assert values == pytest.approx([values[0]] * 3)
    ways = [by_column, {"both": (RED, "the sofa was red")}, (RED, "the sofa was red")]
    values = [crossed(row).scores["true"] for row in ways]
    assert values == pytest.approx([values[0]] * 3)
    assert pair((RED, "the sofa was red")).value != pair((RED, "the sofa was blue")).value


def test_several_outputs_come_by_name(trained: mh.Run) -> None:
    answer = product(trained, "several")(RED)
    assert set(answer) == {"label", "score", "topics"}
    assert answer["label"].value == "red"
    assert answer["score"].value == pytest.approx(1, abs=1)
    assert "red" in answer["topics"].value


def test_words_are_tagged_one_tag_a_word(trained: mh.Run) -> None:
    tagging = product(trained, "tagging")
    words = RED.split()
    assert tagging(RED).value == ["O", "B-size", "B-colour", "O", "O"]
    assert tagging([words])[0].value == tagging(RED).value
    assert tagging({"words": words}).value == tagging(RED).value
    assert [len(a.value) for a in tagging([RED, "red", "a b c d e f g"])] == [5, 1, 7]


def test_images_as_object_path_array_or_bytes(trained: mh.Run, tmp_path: Path) -> None:
    picture = product(trained, "picture")
    red, stream = image((200, 40, 40)), io.BytesIO()
    red.save(stream, format="PNG")
    red.save(tmp_path / "red.png")
    ways = [
        red, str(tmp_path / "red.png"), tmp_path / "red.png", np.array(red), stream.getvalue(),
        {"bytes": stream.getvalue(), "path": None}, {"image": red},
    ]  # fmt: skip
    assert [picture(way).value for way in ways] == ["red"] * len(ways)
    assert [answer.value for answer in picture([red, image((50, 60, 210))])] == ["red", "blue"]


def test_two_modalities(trained: mh.Run) -> None:
    fused = product(trained, "fused")
    assert fused({"text": RED, "image": image((200, 40, 40))})["label"].value == "red"
    assert fused((BLUE, image((50, 60, 210))))["label"].value == "blue"


@pytest.mark.parametrize("name", ["colour", "tagging", "size", "topics", "picture"])
def test_a_row_among_others_is_answered_as_alone(trained: mh.Run, name: str) -> None:
    """Reliability row 26."""
    made = product(trained, name)
    table = mh.create("source", "fixture.toy", rows=50, seed=3).read()
    outputs, _ = made.outputs_of(table)
    for row in (0, 7, 49):
        (output,) = outputs.values()
        alone, _ = made.outputs_of(table.slice(row, 1))
        (single,) = alone.values()
        width = single.shape[1] if single.ndim > 1 else None
        assert (
            float((output[row, :width] - single[0]).abs().max() if width else output[row] - single[0]) < 1e-5
        )


def test_a_row_that_was_cut_says_so(trained: mh.Run) -> None:
    colour = product(trained, "colour")
    long, short = " ".join(["red"] * 100), RED
    assert [answer.truncated for answer in colour([short, long])] == [False, True]
    tagging = product(trained, "tagging")
    (answer,) = tagging([long.split()])
    assert answer.truncated
    assert len(answer.value) == 32


def test_empty_and_odd_texts_have_an_answer(trained: mh.Run) -> None:
    """Reliability row 21."""
    colour = product(trained, "colour")
    odd = ["", " ", "\x00", "\ud800", "\u202ered", "x" * 1_000_000]
    assert len(colour(odd)) == len(odd)
    assert product(trained, "tagging")("").value == []


@pytest.mark.parametrize(
    ("name", "rows", "message"),
    [
        ("colour", [RED, 3], r"row 2: text is a string"),
        ("colour", [{"txet": RED}], r"row 1: there is no 'text'.*Did you mean 'text' where it says 'txet'"),
        ("fused", [{"text": RED}], r"row 1: there is no 'image', which this product reads\. There is: text"),
        ("fused", [RED], r"row 1: this product reads several inputs: give a mapping of text, image"),
        ("picture", ["/nowhere.png"], r"row 1: not an image"),
    ],
)
def test_a_row_that_cannot_be_read_is_named(
    trained: mh.Run, name: str, rows: list[Any], message: str
) -> None:
    with pytest.raises(mh.DataError, match=message):
        product(trained, name)(rows)


@pytest.mark.parametrize("row", [RED, None, 3, (RED,), (RED, RED, RED), {"both": RED}, {"both": [RED]}])
def test_a_value_of_several_columns_has_one_part_for_each(pairs: mh.Run, row: Any) -> None:
    with pytest.raises(mh.DataError, match=r"row 2: 2 columns expected \(text, other\), [13] given"):
        product(pairs, "crossed", "mlp")([(RED, BLUE), row])


def test_a_value_of_one_column_is_no_tuple(pairs: mh.Run) -> None:
    with pytest.raises(mh.DataError, match=r"row 1: 1 column expected \(text\), 2 given\."):
        product(pairs, "pair", "mlp")({"first": (RED, BLUE), "second": RED})


def test_a_loaded_product_keeps_no_gradients(trained: mh.Run) -> None:
    model = product(trained, "colour").model
    assert not model.training
    assert not any(parameter.requires_grad for parameter in model.parameters())
    assert isinstance(model, torch.nn.Module)
