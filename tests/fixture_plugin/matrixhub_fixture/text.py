"""A text encoder small enough to read at a glance: one embedding for each hashed word."""

import copy
import re
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from matrixhub import Batch, ConfigError, DataError, Features

WORD = re.compile(r"\w+|[^\w\s]")


@dataclass(frozen=True, slots=True)
class HashProcessor:
    """Text to hashed word ids.

    A value is a string, a list of words (one token each), or a tuple of two strings (a pair). Id 0
    is padding, id 1 stands between the two texts of a pair.
    """

    buckets: int
    max_length: int

    def prepare(self, values: Sequence[Any]) -> list[list[int]]:
        """Word ids of each value.

        Raises:
            DataError: a value that is no text.
        """
        return [self._ids(value, row) for row, value in enumerate(values)]

    def _ids(self, value: Any, row: int) -> list[int]:
        match value:
            case str():
                return [self._hash(word) for word in WORD.findall(value)]
            case (str() as first, str() as second) if isinstance(value, tuple):
                return [*self._ids(first, row), 1, *self._ids(second, row)]
            case list() if all(isinstance(word, str) for word in value):
                return [self._hash(word) for word in value]
        kind = type(value).__name__
        raise DataError(f"text is a string, a list of words or a pair of strings, not {kind}", row=row)

    def _hash(self, word: str) -> int:
        # 'replace' keeps lone surrogates from raising.
        return 2 + zlib.crc32(word.lower().encode("utf-8", "replace")) % (self.buckets - 2)

    def size(self, item: list[int]) -> int:
        """Words, after the cut."""
        return max(1, min(len(item), self.max_length))

    def collate(self, items: Sequence[list[int]]) -> Batch:
        """``ids_BT`` int64, ``mask_BT`` bool, ``truncated`` bool (B,); T is the longest row."""
        kept = [torch.tensor(item[: self.max_length], dtype=torch.int64) for item in items]
        width = max(self.size(item) for item in items)
        ids_BT = torch.stack([nn.functional.pad(row, (0, width - len(row))) for row in kept])
        truncated = torch.tensor([len(item) > self.max_length for item in items])
        return {"ids_BT": ids_BT, "mask_BT": ids_BT != 0, "truncated": truncated}


class HashText(nn.Module):
    """Looks words up in a seeded table, mixes them in blocks; pooled is their mean (zero for no words)."""

    modality = "text"

    def __init__(
        self, *, dim: int, buckets: int, max_length: int, budget: int, seed: int, layers: int = 0
    ) -> None:
        super().__init__()
        self.dim = dim
        self.budget = budget
        self.num_layers = layers
        self.processor = HashProcessor(buckets=buckets, max_length=max_length)
        seeded = torch.Generator().manual_seed(seed)
        self.table = nn.Embedding(buckets, dim, _weight=torch.randn(buckets, dim, generator=seeded))
        self.blocks = Blocks(Mix(dim, seeded) for _ in range(layers))

    def forward(self, batch: Batch) -> Features:
        """Pooled (B, D) and one token a word (B, T, D), float32."""
        mask_BT = batch["mask_BT"]
        tokens_BTD: Tensor = self.table(batch["ids_BT"]) * mask_BT.unsqueeze(-1)
        found: Features = self.blocks(Features(_mean(tokens_BTD, mask_BT), tokens_BTD, mask_BT))
        return found

    def split(self, num_trainable: int) -> "tuple[HashText, Blocks]":
        """Itself without its last blocks, and these; all parameters are shared."""
        if not self.num_layers:
            raise ConfigError("This encoder has no layers: set encoder.text.layers.")
        prefix = copy.copy(self)
        cut = self.num_layers - num_trainable
        prefix._modules = {"table": self.table, "blocks": Blocks(self.blocks[:cut])}
        return prefix, Blocks(self.blocks[cut:])


class Blocks(nn.ModuleList):
    """Blocks one after the other."""

    def forward(self, features: Features) -> Features:
        """What the last one gives."""
        for block in self:
            features = block(features)
        return features


class Mix(nn.Module):
    """Adds to each word what a seeded linear layer makes of it and of the mean of its row."""

    def __init__(self, dim: int, seeded: torch.Generator) -> None:
        super().__init__()
        self.linear = nn.Linear(dim, dim)
        with torch.no_grad():
            self.linear.weight.copy_(torch.randn(dim, dim, generator=seeded) / dim**0.5)
            self.linear.bias.zero_()

    def forward(self, features: Features) -> Features:
        """Features of the same shapes."""
        tokens_BTD, mask_BT = features.tokens_BTD, features.mask_BT
        mean_BD = _mean(tokens_BTD, mask_BT)
        added_BTD = torch.tanh(self.linear(tokens_BTD + mean_BD[:, None]))
        mixed_BTD = (tokens_BTD + added_BTD) * mask_BT.unsqueeze(-1)
        return Features(_mean(mixed_BTD, mask_BT), mixed_BTD, mask_BT)


def _mean(tokens_BTD: Tensor, mask_BT: Tensor) -> Tensor:
    """Over real tokens, (B, D); padding is zero."""
    mean_BD: Tensor = tokens_BTD.sum(dim=1) / mask_BT.sum(dim=1, keepdim=True).clamp(min=1)
    return mean_BD
