"""A model of timm cut in two: up to some block, and from there on.

Both parts share the model's parameters. Feature maps (B, C, H, W) travel as tokens (B, H * W, C).
Shape suffixes: B rows, C channels, H height, W width, T tokens, D feature width.
"""

import copy
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from matrixhub import Batch, ConfigError, Features


@dataclass(frozen=True, slots=True)
class Family:
    """Names of a model's children, in the order of its forward pass; those not named come after them.

    Attributes:
        stem: before the blocks.
        body: which hold the blocks, one after the other.
        tail: between the last block and what ``forward_features`` gives.
    """

    stem: tuple[str, ...]
    body: tuple[str, ...]
    tail: tuple[str, ...] = ()


FAMILIES = {
    "VisionTransformer": Family(
        ("patch_embed", "pos_drop", "patch_drop", "norm_pre"), ("blocks",), ("norm",)
    ),
    "ResNet": Family(("conv1", "bn1", "act1", "maxpool"), ("layer1", "layer2", "layer3", "layer4")),
    "EfficientNet": Family(("conv_stem", "bn1"), ("blocks",), ("conv_head", "bn2")),
    "MobileNetV3": Family(("conv_stem", "bn1"), ("blocks",)),
}
"""By the name of timm's class."""


def num_layers(model: Any) -> int:
    """Blocks of a model that can be cut; 0 for any other."""
    return len(_blocks(model)) if type(model).__name__ in FAMILIES else 0


def split(model: Any, num_trainable: int) -> tuple[Any, "LastBlocks"]:
    """The model up to its last ``num_trainable`` blocks, whose ``forward_features`` is called, and the rest.

    Raises:
        ConfigError: it is of a family that cannot be cut.
    """
    name = type(model).__name__
    if name not in FAMILIES:
        raise ConfigError(
            f"{name} of timm cannot be cut into layers; {', '.join(FAMILIES)} can. Or take trainer=finetune."
        )
    family, blocks = FAMILIES[name], _blocks(model)
    cut = len(blocks) - num_trainable
    used = {*family.stem, *family.body, *family.tail}
    nothing = {child: nn.Identity() for child in (*family.body, *family.tail)}
    stem = {child: getattr(model, child) for child in family.stem}
    first = _with(model, {**stem, **nothing, family.body[0]: nn.Sequential(*blocks[:cut])})
    head = _with(model, {child: one for child, one in model.named_children() if child not in used})
    head._parameters = {}  # those of the stem, such as positions
    return first, LastBlocks([*blocks[cut:], *(getattr(model, child) for child in family.tail)], head)


class LastBlocks(nn.Module):
    """The last blocks of a model, and what pools their outputs.

    Args:
        blocks: with what follows them in ``forward_features``.
        head: what ``forward_head`` of the model needs.
    """

    def __init__(self, blocks: list[nn.Module], head: Any) -> None:
        super().__init__()
        self.blocks, self.head = nn.Sequential(*blocks), head

    def forward_features(self, maps: Tensor) -> Tensor:
        """Maps or tokens of the last block, as the model's own ``forward_features`` gives them."""
        last: Tensor = self.blocks(maps)
        return last

    def forward_head(self, maps: Tensor, *, pre_logits: bool) -> Tensor:
        """As the model's own."""
        pooled_BD: Tensor = self.head.forward_head(maps, pre_logits=pre_logits)
        return pooled_BD


class FirstLayers(nn.Module):
    """The first layers of an image encoder, as an encoder whose tokens are hidden states.

    Args:
        encoder: of these layers.
        shape: of what they make of one image, (1, C, H, W) or (1, T, C).

    Attributes:
        grid: (H, W) of the maps; empty where there are none.
    """

    modality = "image"

    def __init__(self, encoder: Any, shape: torch.Size) -> None:
        super().__init__()
        self.encoder, self.processor, self.budget = encoder, encoder.processor, encoder.budget
        self.grid = torch.Size(shape[2:] if len(shape) == 4 else ())
        self.dim: int = shape[1 if self.grid else 2]

    def forward(self, batch: Batch) -> Features:
        """Hidden states (B, T, C), float32."""
        maps = self.encoder.model.forward_features(self.encoder.normalize(batch["pixels"]))
        tokens_BTC = (maps.flatten(2).transpose(1, 2) if self.grid else maps).float()
        mask_BT = torch.ones(tokens_BTC.shape[:2], dtype=torch.bool, device=tokens_BTC.device)
        return Features(tokens_BTC.mean(dim=1), tokens_BTC, mask_BT)


def shape_after(encoder: Any, size: Sequence[int]) -> torch.Size:
    """Shape of what the model of an encoder makes of one image of ``size`` (C, H, W)."""
    was_training, device = encoder.training, next(encoder.parameters()).device
    with torch.no_grad():
        pixels_BCHW = encoder.eval().normalize(torch.zeros(1, *size, device=device))
        shape: torch.Size = encoder.model.forward_features(pixels_BCHW).shape
    encoder.train(was_training)
    return shape


class LastLayers(nn.Module):
    """The last layers of an image encoder, called with the hidden states that the first ones gave.

    Args:
        encoder: of these layers.
        grid: (H, W) of the maps; empty where there are none.
    """

    def __init__(self, encoder: Any, grid: torch.Size) -> None:
        super().__init__()
        self.encoder, self.grid = encoder, grid

    def forward(self, hidden: Features) -> Features:
        """Features of the whole encoder."""
        if hidden.tokens_BTD is None:
            raise ConfigError("The last layers of an encoder take the hidden states of tokens.")
        maps = hidden.tokens_BTD.to(next(self.encoder.parameters()).dtype)
        if self.grid:
            maps = maps.reshape(len(maps), *self.grid, -1).permute(0, 3, 1, 2)
        features: Features = self.encoder.features(maps)
        return features


def _blocks(model: Any) -> list[nn.Module]:
    family = FAMILIES[type(model).__name__]
    return [block for child in family.body for block in _flat(getattr(model, child))]


def _flat(blocks: nn.Module) -> Iterator[nn.Module]:
    """The blocks of stages, or of a row of blocks."""
    for block in blocks.children():
        if isinstance(block, nn.Sequential):
            yield from _flat(block)
        else:
            yield block


def _with(model: Any, children: Mapping[str, nn.Module]) -> Any:
    """The model with these children only; all the rest is shared."""
    twin = copy.copy(model)
    twin._modules = dict(children)
    return twin
