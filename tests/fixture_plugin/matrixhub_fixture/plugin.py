"""What the fixture plugin offers. Nothing heavy is imported here."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from matrixhub import Register, hookimpl

matrixhub_api = 1


@dataclass
class HashTextConfig:
    """Words hashed into a small seeded table."""

    dim: int = 32
    """Width of the features."""
    buckets: int = 512
    """Rows of the table; two words may share one."""
    max_length: int = 32
    """Words kept of a row; the rest is cut."""
    budget: int = 4096
    """Words in a batch, padding included, when only encoding."""
    seed: int = 0
    """Of the table and the blocks."""
    layers: int = 0
    """Blocks that mix the words of a row."""


@dataclass
class MeanImageConfig:
    """The average colours of a 4x4 grid, through one seeded linear layer."""

    dim: int = 16
    """Width of the features."""
    budget: int = 64
    """Images in a batch when only encoding."""
    seed: int = 0
    """Of the linear layer."""


@dataclass
class ToyConfig:
    """Made-up rows with every kind of column and target, all of them learnable."""

    rows: int = 120
    """How many."""
    seed: int = 0
    """Other seed, other rows."""
    given_split: bool = False
    """Come already split: 70 % train, 10 % validation, 20 % test."""


@dataclass
class JoinConfig:
    """Texts of several columns in one."""

    columns: list[str] = field(default_factory=lambda: ["text"])
    """Which, in this order."""
    into: str = "joined"
    """The column that is added."""


@dataclass
class LongerConfig:
    """Rows of at least so many words."""

    column: str = "text"
    """Holds the words."""
    least: int = 1
    """How many."""


@dataclass
class DistinctConfig:
    """The first row of each text."""

    column: str = "text"
    """Holds the text."""


@dataclass
class EchoConfig:
    """Says words of the prompt again."""

    context: int = 128
    """Words of a prompt and its answer together."""
    times: int = 1
    """How often the prompt is said."""


@dataclass
class ScribeConfig:
    """Writes byte after byte what it was taught."""

    width: int = 32
    """Of its embeddings."""
    context: int = 256
    """Bytes of a prompt and its answer together."""
    seed: int = 0
    """Of its weights."""


@dataclass
class SpanConfig:
    """One linear layer from all inputs to a prefix."""

    num_tokens: int = 2
    """Vectors of the prefix."""


@hookimpl
def matrixhub_components(register: Register) -> None:
    """Encoders, generators, a fusion for one of them, a source, transforms."""
    register(
        "encoder",
        "hash_text",
        "matrixhub_fixture.text:HashText",
        config=HashTextConfig,
        consumes="text",
        produces=("pooled", "tokens", "layers"),
    )
    register(
        "encoder",
        "mean_image",
        "matrixhub_fixture.images:MeanImage",
        config=MeanImageConfig,
        consumes="image",
        produces="pooled",
    )
    register("source", "toy", "matrixhub_fixture.toy:ToySource", config=ToyConfig)
    register("generator", "echo", "matrixhub_fixture.echo:Echo", config=EchoConfig)
    register(
        "generator",
        "scribe",
        "matrixhub_fixture.scribe:Scribe",
        config=ScribeConfig,
        consumes=("text", "prefix"),
        produces=("text", "loss"),
    )
    register(
        "fusion", "span", "matrixhub_fixture.span:Span", config=SpanConfig, produces=("pooled", "prefix")
    )
    register("transform", "join", "matrixhub_fixture.transforms:Join", config=JoinConfig)
    register("transform", "longer", "matrixhub_fixture.transforms:Longer", config=LongerConfig)
    register("transform", "distinct", "matrixhub_fixture.transforms:Distinct", config=DistinctConfig)


@hookimpl
def matrixhub_config_dirs() -> Sequence[Path]:
    """Presets."""
    return [Path(__file__).parent / "conf"]
