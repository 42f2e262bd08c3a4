"""Made-up rows. Each is about a colour and a size; every column says so in its own way."""

import io
import random
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from matrixhub import SPLIT_COLUMN

if TYPE_CHECKING:
    import pyarrow as pa

COLOURS = {"red": (200, 40, 40), "green": (40, 180, 60), "blue": (50, 60, 210)}
SIZES = {"tiny": 1.0, "small": 2.0, "large": 3.0, "huge": 4.0}
OUTDOORS = ("car", "bird", "boat", "tree")
INDOORS = ("sofa", "cup", "lamp", "chair")
THINGS = OUTDOORS + INDOORS
OPENINGS = ("the", "a", "one")
ENDINGS = ("today", "again", "here")


class ToySource:
    """Rows with these columns.

    ``text`` and ``words`` (the same, split); ``other``, a second sentence, and ``same``, whether both
    name one colour; ``image``, an 8x8 PNG of that colour; ``label``, the colour; ``score``, the size
    as a number; ``topics``, colour, size and, where it fits, ``indoors``; ``tags``, one for each word.
    """

    def __init__(self, *, rows: int, seed: int, given_split: bool) -> None:
        self.rows = rows
        self.seed = seed
        self.given_split = given_split

    def fingerprint(self) -> str:
        """The rows follow from the options."""
        return f"toy-1 {self.rows} {self.seed} {self.given_split}"

    def read(self) -> "pa.Table":
        """All rows."""
        import pyarrow as pa

        rng = random.Random(self.seed)
        table = pa.Table.from_pylist([_row(rng, i) for i in range(self.rows)], schema=_schema())
        if self.given_split:
            split = ["train"] * 7 + ["validation"] + ["test"] * 2
            table = table.append_column(SPLIT_COLUMN, pa.array([split[i % 10] for i in range(self.rows)]))
        return table

    def batches(self, batch_size: int) -> "Iterator[pa.Table]":
        """Slices of ``read()``."""
        table = self.read()
        for start in range(0, table.num_rows, batch_size):
            yield table.slice(start, batch_size)


def _schema() -> "pa.Schema":
    import pyarrow as pa

    return pa.schema(
        {
            "text": pa.string(),
            "other": pa.string(),
            "image": pa.struct({"bytes": pa.binary(), "path": pa.string()}),
            "label": pa.string(),
            "score": pa.float64(),
            "topics": pa.list_(pa.string()),
            "words": pa.list_(pa.string()),
            "tags": pa.list_(pa.string()),
            "same": pa.bool_(),
        }
    )


def _row(rng: random.Random, number: int) -> dict[str, Any]:
    colour, size, thing = rng.choice(list(COLOURS)), rng.choice(list(SIZES)), rng.choice(THINGS)
    opening, ending = rng.choice(OPENINGS), rng.choice(ENDINGS)
    described = [(size, "B-size"), (colour, "B-colour"), (thing, "O"), (f"no{number}", "O")]
    tagged = [(opening, "O"), *described, (ending, "O")]
    other = colour if rng.random() < 0.5 else rng.choice(list(COLOURS))
    return {
        "text": " ".join(word for word, _ in tagged),
        "other": f"the {rng.choice(THINGS)} was {other}",
        "image": {"bytes": _png(rng, COLOURS[colour]), "path": None},
        "label": colour,
        "score": SIZES[size] + rng.gauss(0, 0.05),
        "topics": [colour, size, "indoors"] if thing in INDOORS else [colour, size],
        "words": [word for word, _ in tagged],
        "tags": [tag for _, tag in tagged],
        "same": other == colour,
    }


def _png(rng: random.Random, colour: tuple[int, int, int]) -> bytes:
    """An 8x8 image of that colour, every pixel a little off."""
    from PIL import Image

    noisy = bytes(min(255, max(0, channel + rng.randint(-40, 40))) for _ in range(64) for channel in colour)
    stream = io.BytesIO()
    Image.frombytes("RGB", (8, 8), noisy).save(stream, format="PNG")
    return stream.getvalue()
