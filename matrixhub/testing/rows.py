"""Tiny rows of every modality, easy and hard ones, made on the spot."""

import io
import math
from collections.abc import Mapping, Sequence
from typing import Any

from matrixhub.testing.check import Blocked

TEXT = [
    "a quiet film", "word", "", "words, words, 好看 and a film " * 4, "?", "a , a", "film", "quiet",
]  # fmt: skip
TABULAR = [
    (1.5, "red", 3), (-20.0, "green", 0), (None, "red", 7), (1e6, None, -2), (0.0, "", 3),
    (math.pi, "blue", 12),
]  # fmt: skip
WORDS = [["a"], ["quiet", "words", ",", "好看"], ["film"] * 3]
"""Text that comes split into words."""


def rows(modality: str, declared: Mapping[str, list[Any]]) -> list[Any]:
    """Values that an encoder of this modality must read; the first two differ."""
    if modality in declared:
        return list(declared[modality])
    match modality:
        case "text":
            return list(TEXT)
        case "image":
            return _images(((64, 64), (40, 90), (7, 5), (200, 64)))
        case "tabular":
            return list(TABULAR)
        case "audio":
            return [
                _tone(hertz, seconds) for hertz, seconds in ((440, 0.5), (220, 0.25), (880, 1.0), (330, 0.5))
            ]
    raise Blocked(
        f"the kit has no rows of {modality}: declare some, [rows] {modality} = [...] in conformance.toml"
    )


def odd_rows(modality: str) -> dict[str, Any]:
    """Values that come up in real data and break things, by what is odd about each."""
    match modality:
        case "text":
            return {
                "a space": " ",
                "a NUL": "a\0b",
                "a lone surrogate": "a \ud800 b",
                "right-to-left marks": "\u202eabc\u202c \u0627\u0644",
                "a megabyte without a space": "x" * 1_000_000,
                "two hundred thousand words": "word " * 200_000,
                "no words": [],
                "an empty pair": ("", ""),
            }
        case "image":
            return _odd_images()
        case "tabular":
            return {
                "only nulls": (None, None, None),
                "not a number": (math.nan, "red", 3),
                "infinity": (math.inf, "red", 3),
                "the largest float": (1.7e308, "x" * 100_000, -(2**62)),
                "strings for numbers": ("1.5", "red", "3"),
                "no columns": (),
            }
        case "audio":
            return {
                "no samples": _tone(440, 0.0),
                "one sample": _tone(440, 1 / 16_000),
                "a minute": _tone(440, 60),
            }
    return {}


def sentences(count: int) -> list[str]:
    """Short texts, all different."""
    return [
        f"row {number} says {'much ' * (number % 4)}about {'red' if number % 2 else 'blue'}"
        for number in range(count)
    ]


def _images(sizes: Sequence[tuple[int, int]]) -> list[Any]:
    from PIL import Image

    return [Image.effect_mandelbrot(size, (-2, -1, 1, 1), 20).convert("RGB") for size in sizes]


def _odd_images() -> dict[str, Any]:
    from PIL import Image

    (whole,) = _images([(32, 24)])
    stream = io.BytesIO()
    whole.save(stream, format="PNG")
    found = {f"mode {mode}": whole.convert(mode) for mode in ("L", "LA", "P", "RGBA", "CMYK", "1")}
    return found | {
        "16 bits a pixel": Image.new("I;16", (32, 24), 40_000),
        "one pixel": Image.new("RGB", (1, 1), (200, 40, 40)),
        "a line of 2,000 x 1": Image.new("RGB", (2000, 1)),
        "a file that ends too soon": stream.getvalue()[:60],
        "no bytes": b"",
        "the path of no file": "no/such/file.png",
    }


def _tone(hertz: float, seconds: float) -> dict[str, Any]:
    """As the datasets library has it: samples in -1..1, and how many there are in a second."""
    import numpy as np

    rate = 16_000
    times = np.arange(round(seconds * rate)) / rate
    return {"array": np.sin(2 * np.pi * hertz * times).astype(np.float32), "sampling_rate": rate}
