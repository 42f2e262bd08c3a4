"""What this plugin offers; imports nothing heavy."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from matrixhub import Register, hookimpl

matrixhub_api = 1


@dataclass
class FixedConfig:
    """Columns as features of their own: numbers, their logarithms, what is missing, hashed categories."""

    columns: int = 32
    """Room for so many columns; a row of more is refused."""
    buckets: int = 256
    """Places that categories are hashed into; two may share one."""
    categories: list[int] = field(default_factory=list)
    """Columns, counted from 1, whose numbers are names of something (a postcode) and no amounts."""
    raw: bool = True
    """Give numbers as they are too. Their units differ: take a head with standardize=each."""
    budget: int = 4096
    """Rows in a batch when only encoding."""


@dataclass
class PeriodicConfig:
    """A network over embeddings of numbers and categories, trained from random weights."""

    columns: int = 32
    """Room for so many columns; a row of more is refused."""
    buckets: int = 256
    """Rows of the table of categories; two may share one."""
    categories: list[int] = field(default_factory=list)
    """Columns, counted from 1, whose numbers are names of something (a postcode) and no amounts."""
    frequencies: int = 16
    """Sines and cosines of each number."""
    sigma: float = 0.3
    """Spread of the first frequencies: larger follows steeper bends."""
    width: int = 16
    """Of the embedding of one column."""
    dim: int = 128
    """Width of the features, and of the hidden layer before them."""
    dropout: float = 0.1
    """Share of the hidden layer set to zero at random while training."""
    seed: int = 0
    """Of the first weights."""
    budget: int = 4096
    """Rows in a batch when only encoding."""


@dataclass
class DataConfig:
    """Rows that scikit-learn brings with it."""


@hookimpl
def matrixhub_components(register: Register) -> None:
    """Two encoders and three data sets."""
    register(
        "encoder",
        "fixed",
        "matrixhub_tabular.encoder:FixedEncoder",
        config=FixedConfig,
        consumes="tabular",
        produces="pooled",
    )
    register(
        "encoder",
        "periodic",
        "matrixhub_tabular.periodic:PeriodicEncoder",
        config=PeriodicConfig,
        consumes="tabular",
        produces="pooled",
    )
    for name in ("cancer", "diabetes", "wine"):
        register("source", name, f"matrixhub_tabular.sources:{name}", config=DataConfig)


@hookimpl
def matrixhub_check(cell: Mapping[str, Any]) -> Iterator[str]:
    """An encoder of random weights is of no use frozen."""
    name = cell["encoder"].get("tabular", {}).get("name")
    if name == "tabular.periodic" and not cell["trainer"]["train_encoder"]:
        yield (
            "Encoder 'tabular.periodic' starts from random weights: take trainer=scratch,"
            " or encoder/tabular=fixed."
        )


@hookimpl
def matrixhub_config_dirs() -> Sequence[Path]:
    """A product for your own table and one for each data set, and how a network is trained from nothing."""
    return [Path(__file__).parent / "conf"]
