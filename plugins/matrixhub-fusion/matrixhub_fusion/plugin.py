"""What this plugin offers; imports nothing heavy."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from matrixhub import Register, hookimpl

matrixhub_api = 1


@dataclass
class WeightedConfig:
    """A weighted mean of all inputs, whose weights each row decides for itself."""

    dim: int = 256
    """Width of the fused features."""
    dropout: float = 0.0
    """Share of every input's features set to zero at random while training."""


@dataclass
class BilinearConfig:
    """Products of every two inputs, by low-rank bilinear pooling."""

    rank: int = 512
    """How many products: the width of the fused features."""
    dropout: float = 0.1
    """Share of every input's features set to zero at random while training."""
    keep: bool = True
    """Put each input beside the products too, so that it can count without the others."""


@dataclass
class SharedConfig:
    """One space for all inputs, in which those that a row has are averaged."""

    dim: int = 256
    """Width of the space, and of the fused features."""
    dropout: float = 0.0
    """Share of every input's features set to zero at random while training."""


@dataclass
class CrossConfig:
    """The first input asks the tokens of the others: a layer of cross-attention."""

    dim: int = 256
    """Width of the attention; fused features are three times as wide."""
    heads: int = 4
    """Of attention."""
    queries: str = "pooled"
    """What asks: the first input's pooled features, or each of its tokens."""
    dropout: float = 0.1
    """Share of every input's projected features set to zero at random while training."""


@dataclass
class PrefixConfig:
    """Vectors that a generator reads before its prompt: images, tables, texts in place of words."""

    num_tokens: int = 8
    """How many vectors."""
    hidden: int = 512
    """Width of the layer between features and vectors; 0 leaves it out."""
    dropout: float = 0.1
    """Share of the features set to zero at random while training."""


@hookimpl
def matrixhub_components(register: Register) -> None:
    """Five fusions; only ``cross`` reads tokens, and ``prefix`` is for generators."""
    register("fusion", "weighted", "matrixhub_fusion.fusions:Weighted", config=WeightedConfig)
    register("fusion", "bilinear", "matrixhub_fusion.fusions:Bilinear", config=BilinearConfig)
    register("fusion", "shared", "matrixhub_fusion.fusions:Shared", config=SharedConfig)
    register("fusion", "cross", "matrixhub_fusion.cross:Cross", config=CrossConfig, consumes="tokens")
    produces = ("pooled", "prefix")
    register("fusion", "prefix", "matrixhub_fusion.prefix:Prefix", config=PrefixConfig, produces=produces)


@hookimpl
def matrixhub_config_dirs() -> Sequence[Path]:
    """Presets."""
    return [Path(__file__).parent / "conf"]
