"""An image encoder small enough to read at a glance: a 4x4 grid of mean colours, one linear layer."""

import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn

from matrixhub import Batch, DataError, Features

GRID = 4


class GridProcessor:
    """Images to grids of mean colours.

    A value is a path, the bytes of a file, a mapping with ``bytes`` and/or ``path``, a PIL image, or
    a uint8 array (H, W) or (H, W, 3).
    """

    def prepare(self, values: Sequence[Any]) -> list[Tensor]:
        """Each a float32 (3, 4, 4) in 0..1.

        Raises:
            DataError: a value that is no image.
        """
        return [self._grid(value, row) for row, value in enumerate(values)]

    def _grid(self, value: Any, row: int) -> Tensor:
        try:
            small = _opened(value).convert("RGB").resize((GRID, GRID), Image.Resampling.BOX)
        except (OSError, TypeError, ValueError) as error:
            raise DataError(f"not an image that can be read ({type(error).__name__})", row=row) from error
        return torch.from_numpy(np.array(small)).permute(2, 0, 1).float() / 255

    def size(self, item: Tensor) -> int:
        """Every image costs the same."""
        return 1

    def collate(self, items: Sequence[Tensor]) -> Batch:
        """``pixels_BCHW``, float32 (B, 3, 4, 4)."""
        return {"pixels_BCHW": torch.stack(list(items))}


def _opened(value: Any) -> Image.Image:
    match value:
        case Image.Image():
            return value
        case str() | Path():
            return Image.open(value)
        case bytes():
            return Image.open(io.BytesIO(value))
        case {"bytes": bytes(data)}:
            return Image.open(io.BytesIO(data))
        case {"path": str(path)}:
            return Image.open(path)
        case np.ndarray():
            return Image.fromarray(value)
    raise TypeError(f"cannot read {type(value).__name__}")


class MeanImage(nn.Module):
    """A seeded linear layer over the grid."""

    modality = "image"

    def __init__(self, *, dim: int, budget: int, seed: int) -> None:
        super().__init__()
        self.dim = dim
        self.budget = budget
        self.processor = GridProcessor()
        width = 3 * GRID * GRID
        self.linear = nn.Linear(width, dim)
        with torch.no_grad():
            weight = torch.randn(dim, width, generator=torch.Generator().manual_seed(seed))
            self.linear.weight.copy_(weight / width**0.5)
            self.linear.bias.zero_()

    def forward(self, batch: Batch) -> Features:
        """Pooled (B, D), float32."""
        pixels_BN = batch["pixels_BCHW"].flatten(start_dim=1).to(self.linear.weight.dtype)
        return Features(self.linear(pixels_BN).float())
