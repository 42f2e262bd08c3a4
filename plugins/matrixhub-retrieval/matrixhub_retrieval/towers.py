"""Two inputs brought into one space.

Shape legend: B rows, D width of an input's features, E width of the space.
"""

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from matrixhub import ConfigError, Features


class Towers(nn.Module):
    """Layers of each input, which end in one space; both stand side by side there.

    Features are normalized row by row first, for encoders differ in their size. Options as in
    ``TowersConfig``.

    Args:
        dims: D of each named input; E is D where ``residual``.

    Raises:
        ConfigError: not two inputs, a width below 1, dropout outside 0 to 1, or shared or residual layers for
            inputs of two widths.
    """

    def __init__(
        self,
        *,
        dims: Mapping[str, int],
        dim: int,
        hidden: int,
        dropout: float,
        shared: bool,
        residual: bool = False,
    ) -> None:
        super().__init__()
        if len(dims) != 2:
            raise ConfigError(f"fusion=towers has one for each of two inputs; this product has {len(dims)}.")
        if dim < 1 or hidden < 0 or not 0 <= dropout < 1:
            raise ConfigError(
                f"fusion: dim={dim}, hidden={hidden} and dropout={dropout}. dim must be at least 1, hidden at"
                f" least 0, dropout 0 to below 1."
            )
        for option, is_wanted in {"shared": shared, "residual": residual}.items():
            if is_wanted and len(set(dims.values())) > 1:
                wide = " and ".join(map(str, dims.values()))
                raise ConfigError(
                    f"fusion.{option}=true, but features are {wide} wide: write fusion.{option}=false."
                )
        if residual:
            dim = next(iter(dims.values()))
        self.names, self.dim, self.residual = list(dims), 2 * dim, residual
        widths = list(dims.values())[: 1 if shared else 2]
        towers = [_tower(wide, hidden, dim, dropout) for wide in widths]
        for tower in towers if residual else ():
            for parameter in tower[-1].parameters():
                nn.init.zeros_(parameter)
        # A list and not a mapping: names of inputs need not be names of attributes.
        self.layers = nn.ModuleList(towers)

    def forward(self, features: Mapping[str, Features]) -> Features:
        """Features (B, D of each input) by input to Features (B, 2E)."""
        towers = [self.layers[0], self.layers[-1]]
        sides: list[Tensor] = [
            self._side(tower, features[name].pooled_BD)
            for name, tower in zip(self.names, towers, strict=True)
        ]
        return Features(torch.cat(sides, dim=-1))

    def _side(self, tower: nn.Module, pooled_BD: Tensor) -> Tensor:
        said_BE: Tensor = tower(pooled_BD)
        if not self.residual:
            return said_BE
        # Of the size of what a tower reads, whatever the encoder's is, so that steps are no larger than it.
        return said_BE + nn.functional.rms_norm(pooled_BD, pooled_BD.shape[-1:])


def _tower(wide: int, hidden: int, dim: int, dropout: float) -> nn.Sequential:
    first: list[nn.Module] = [nn.LayerNorm(wide), nn.Dropout(dropout)]
    if not hidden:
        return nn.Sequential(*first, nn.Linear(wide, dim))
    return nn.Sequential(
        *first, nn.Linear(wide, hidden), nn.GELU(), nn.Dropout(dropout), nn.Linear(hidden, dim)
    )
