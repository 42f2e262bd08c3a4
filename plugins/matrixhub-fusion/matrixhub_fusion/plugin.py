"""What this plugin offers; imports nothing heavy."""

from dataclasses import dataclass

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


@hookimpl
def matrixhub_components(register: Register) -> None:
    """Two fusions; neither is for features of tokens."""
    register("fusion", "weighted", "matrixhub_fusion.fusions:Weighted", config=WeightedConfig)
    register("fusion", "bilinear", "matrixhub_fusion.fusions:Bilinear", config=BilinearConfig)
