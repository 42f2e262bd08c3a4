"""The heads: a network over standardized features, and what its task makes of the outputs.

Shape legend: B rows, T words of a row, D feature width, C classes.
"""

import itertools
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from matrixhub import ConfigError, Features, Prediction, Target
from matrixhub_heads.tasks import build_task

_SCALINGS = ("together", "each", "none")
_SMALLEST_SPREAD = 1e-6  # a feature that varies less is taken as constant


def build_linear(
    *,
    dim: int,
    target: Target,
    dropout: float = 0.0,
    standardize: str = "together",
    label_smoothing: float = 0.02,
) -> "TaskHead":
    """One linear layer. Options as in ``LinearConfig``."""
    network = mlp(dim, (), target.num_outputs, dropout=dropout)
    return TaskHead(network, dim=dim, target=target, label_smoothing=label_smoothing, scaling=standardize)


def build_mlp(
    *,
    dim: int,
    target: Target,
    hidden: Sequence[int] = (256,),
    dropout: float = 0.1,
    standardize: str = "together",
    label_smoothing: float = 0.02,
) -> "TaskHead":
    """Hidden layers, then a linear one. Options as in ``MLPConfig``."""
    network = mlp(dim, hidden, target.num_outputs, dropout=dropout)
    return TaskHead(network, dim=dim, target=target, label_smoothing=label_smoothing, scaling=standardize)


def build_pair(
    *,
    dim: int,
    target: Target,
    hidden: Sequence[int] = (),
    dropout: float = 0.0,
    standardize: str = "together",
    label_smoothing: float = 0.02,
) -> "PairHead":
    """Two inputs compared. Options as in ``PairConfig``.

    Raises:
        ConfigError: ``dim`` cannot be two inputs of one width.
    """
    if dim % 2:
        raise ConfigError(
            f"head=pair compares two inputs of one width, but their features are {dim} wide together, an odd "
            f"number. Give the product two inputs and one encoder, or choose head=mlp."
        )
    network = mlp(2 * dim, hidden, target.num_outputs, dropout=dropout)
    return PairHead(network, dim=dim, target=target, label_smoothing=label_smoothing, scaling=standardize)


def mlp(dim: int, hidden: Sequence[int], num_outputs: int, *, dropout: float) -> nn.Sequential:
    """Linear layers with GELU between them and dropout before each; ``hidden`` empty is one linear layer.

    Raises:
        ConfigError: a width below 1, or dropout outside 0 to 1.
    """
    if not 0 <= dropout < 1:
        raise ConfigError(f"head.dropout={dropout}: allowed is 0 to below 1, such as 0.1.")
    if any(width < 1 for width in hidden):
        raise ConfigError(f"head.hidden={list(hidden)}: each width must be at least 1, such as [256].")
    layers: list[nn.Module] = []
    for wide, narrow in itertools.pairwise((dim, *hidden)):
        layers += [nn.Dropout(dropout), nn.Linear(wide, narrow), nn.GELU()]
    return nn.Sequential(*layers, nn.Dropout(dropout), nn.Linear((dim, *hidden)[-1], num_outputs))


class TaskHead(nn.Module):
    """A network on pooled or token features, with loss, decoding and metrics; see ``matrixhub.Head``.

    Args:
        network: (..., D) to (..., C).
        dim: D, width of the features.
        target: what to learn.
        label_smoothing: see ``LinearConfig``.
        scaling: together, each or none; see ``LinearConfig.standardize``.
    """

    feature_mean: Tensor
    feature_std: Tensor

    def __init__(
        self,
        network: nn.Module,
        *,
        dim: int,
        target: Target,
        label_smoothing: float,
        scaling: str,
    ) -> None:
        super().__init__()
        if scaling not in _SCALINGS:
            raise ConfigError(f"head.standardize={scaling}: allowed is {', '.join(_SCALINGS)}.")
        self.network, self.target, self.scaling = network, target, scaling
        self.task = build_task(target, label_smoothing=label_smoothing)
        self.level, self.metric = self.task.level, self.task.metric
        self.higher_is_better = self.task.higher_is_better
        self.register_buffer("feature_mean", torch.zeros(dim))
        self.register_buffer("feature_std", torch.ones(dim))

    def standardize(self, mean_D: Tensor, std_D: Tensor) -> None:
        """Bring features to mean 0 and spread 1 from now on; the numbers are saved with the weights.

        ``together`` divides all features by one number, their mean square spread: dividing each by its own
        would blow up those that hardly vary to the size of those that tell classes apart.

        Args:
            mean_D, std_D: float (D,), over the training rows (and their real words, for token features).
        """
        if self.scaling == "none":
            return
        spread_D = std_D if self.scaling == "each" else std_D.square().mean().sqrt().expand_as(std_D)
        self.feature_mean.copy_(mean_D)
        self.feature_std.copy_(torch.where(spread_D > _SMALLEST_SPREAD, spread_D, 1.0))

    def forward(self, features: Features) -> Tensor:
        """float32 outputs: (B, C), (B,) in the units of the data for regression, (B, T, C) for tags."""
        given = features.tokens_BTD if self.level == "tokens" else features.pooled_BD
        if given is None:
            raise ValueError("the head reads token features, but the encoder gave only pooled ones")
        outputs = self.network(self.prepare((given - self.feature_mean) / self.feature_std)).float()
        if self.target.task != "regression":
            return torch.as_tensor(outputs)
        return torch.as_tensor(outputs.squeeze(-1) * self.target.std + self.target.mean)

    def prepare(self, features: Tensor) -> Tensor:
        """What the network reads, from standardized features."""
        return features

    def loss(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """Mean loss, a scalar."""
        return self.task.loss(outputs, targets)

    def decode(self, outputs: Tensor, mask_BT: Tensor | None = None) -> list[Prediction]:
        """One prediction a row."""
        return self.task.decode(outputs, mask_BT)

    def metrics(self, outputs: Tensor, targets: Tensor) -> dict[str, float]:
        """Metrics over a whole split."""
        return self.task.metrics(outputs, targets)


class PairHead(TaskHead):
    """Reads two inputs u and v side by side, (B, 2W), as u, v, |u - v| and u * v, (B, 4W).

    The comparison of InferSent (Conneau et al. 2017), which Sentence-BERT took over (Reimers & Gurevych
    2019).
    """

    def standardize(self, mean_D: Tensor, std_D: Tensor) -> None:
        """As for any head, but both inputs are measured by one ruler, so that equal ones stay equal."""
        means_2W, stds_2W = mean_D.reshape(2, -1), std_D.reshape(2, -1)
        mean_W = means_2W.mean(0)
        std_W = (stds_2W.square() + (means_2W - mean_W).square()).mean(0).sqrt()
        super().standardize(mean_W.repeat(2), std_W.repeat(2))

    def prepare(self, features: Tensor) -> Tensor:
        """(B, 2W) to (B, 4W)."""
        u_BW, v_BW = features.chunk(2, dim=-1)
        return torch.cat([u_BW, v_BW, (u_BW - v_BW).abs(), u_BW * v_BW], dim=-1)
