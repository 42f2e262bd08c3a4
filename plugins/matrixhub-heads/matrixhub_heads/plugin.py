"""What this plugin offers; nothing heavy is imported until a head is built."""

from dataclasses import dataclass, field

from matrixhub import Register, hookimpl

matrixhub_api = 1

_ROW_TASKS = ("classification", "multilabel", "regression")
_TASKS = (*_ROW_TASKS, "token_classification")


@dataclass
class LinearConfig:
    """One linear layer on the features."""

    dropout: float = 0.0
    """Share of the features set to zero at random while training."""
    standardize: str = "together"
    """Bring frozen features to mean 0 and spread 1 first, so that one learning rate fits every encoder:
    together (one scale for all), each (one scale a feature, for columns in units of their own) or none."""
    label_smoothing: float = 0.02
    """Share of the target spread evenly over all classes (Szegedy et al. 2016); a regression has none."""


@dataclass
class MLPConfig(LinearConfig):
    """Hidden layers with GELU, then a linear layer."""

    dropout: float = 0.1
    """Share of the features, and of each hidden layer, set to zero at random while training."""
    hidden: list[int] = field(default_factory=lambda: [256])
    """Width of each hidden layer."""


@dataclass
class PairConfig(LinearConfig):
    """Two inputs u and v of one encoder, compared: a network on u, v, |u - v| and u * v."""

    hidden: list[int] = field(default_factory=list)
    """Width of each hidden layer; none is a linear layer."""


@hookimpl
def matrixhub_components(register: Register) -> None:
    """Three heads; the task is the product's, and each head learns any of those it declares."""
    levels = ("pooled", "tokens")
    register(
        "head",
        "linear",
        "matrixhub_heads.heads:build_linear",
        config=LinearConfig,
        consumes=levels,
        produces=_TASKS,
    )
    register(
        "head", "mlp", "matrixhub_heads.heads:build_mlp", config=MLPConfig, consumes=levels, produces=_TASKS
    )
    register(
        "head",
        "pair",
        "matrixhub_heads.heads:build_pair",
        config=PairConfig,
        consumes="pooled",
        produces=_ROW_TASKS,
    )
