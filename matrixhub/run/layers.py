"""Encoders of which the last layers train: where they are cut, and what runs on either side."""

import copy
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from matrixhub.errors import ConfigError
from matrixhub.protocols import Encoder, Layered, Processor
from matrixhub.run.encode import prepare_rows, table_rows, to_device
from matrixhub.run.model import ProductModel
from matrixhub.types import Batch, Features

LAYERS = "layers"
"""The level of hidden states."""

SAMPLE_ROWS = 128
"""Spread over the table, to see how large they are."""


class PartlyFrozen(nn.Module):
    """An encoder whose last layers train, fed with hidden states or with rows.

    Its module is the last layers alone: the frozen ones are neither trained, nor kept, nor wrapped.

    Args:
        encoder: whole, frozen, in eval mode; its last layers become trainable.
        num_trainable: how many of them.

    Raises:
        ConfigError: it cannot be cut there.
    """

    def __init__(self, encoder: Any, num_trainable: int) -> None:
        super().__init__()
        prefix, self.suffix = cut(encoder, num_trainable)
        self.suffix.requires_grad_(True)
        self._frozen = (encoder, prefix)  # in a tuple, which hides them from nn.Module

    @property
    def whole(self) -> Any:
        """The encoder, first layers included."""
        return self._frozen[0]

    @property
    def dim(self) -> int:
        """D, of the whole."""
        return int(self.whole.dim)

    @property
    def processor(self) -> Processor:
        """Of the whole."""
        processor: Processor = self.whole.processor
        return processor

    def forward(self, given: Batch | Features) -> Features:
        """Features of hidden states, or of rows, whose hidden states are then computed."""
        answer: Features = self.suffix(given if isinstance(given, Features) else self._hidden(given))
        return answer

    def _hidden(self, batch: Batch) -> Features:
        device = next(iter(batch.values())).device.type
        # In the precision that stored ones have.
        with torch.no_grad(), torch.autocast(device, enabled=False):
            hidden: Features = self._frozen[1](batch)
        return hidden


def with_whole_encoders(model: ProductModel) -> ProductModel:
    """The model as it answers rows: with the frozen layers of its encoders, in eval mode."""
    whole = {m: one.whole if isinstance(one, PartlyFrozen) else one for m, one in model.encoders.items()}
    return ProductModel(whole, model.modalities, model.readout).eval()


def cut(encoder: Any, num_trainable: int) -> tuple[Any, nn.Module]:
    """The frozen and the trainable layers.

    Raises:
        ConfigError: it cannot be cut there.
    """
    name = type(encoder).__name__
    if not isinstance(encoder, Layered):
        raise ConfigError(
            f"trainer.trainable_layers={num_trainable}: {name} cannot be cut. Take trainer=finetune."
        )
    if 0 < encoder.num_layers < num_trainable:
        raise ConfigError(
            f"trainer.trainable_layers={num_trainable}: {name} has {encoder.num_layers} layers here."
        )
    return encoder.split(num_trainable)


def encoder_of(spec: Mapping[str, Any], encoder: Any) -> Any:
    """What encodes in a stage: the whole encoder, or its first layers.

    Raises:
        ConfigError: it cannot be cut there.
    """
    return cut(encoder, spec["trainable_layers"])[0] if spec["level"] == LAYERS else encoder


def own_copy(encoder: Any, *, shared: Iterable[Tensor] = ()) -> Any:
    """The encoder in memory of its own, but for the processor and these tensors."""
    kept = [*filter(None, [getattr(encoder, "processor", None)]), *shared]
    return copy.deepcopy(encoder, {id(one): one for one in kept})


@torch.inference_mode()
def estimated_bytes(
    prefix: Encoder, read: Callable[[Any], Sequence[Any]], num_rows: int, *, device: torch.device
) -> float:
    """How much room the hidden states of a table take, by the sizes of some of its rows.

    Args:
        prefix: first layers of an encoder.
        read: gives the values of rows, an array of positions.
        num_rows: of the table.
        device: where the encoder is.

    Raises:
        ConfigError: it gives no hidden states.
        DataError: a value cannot be processed; names the row.
    """
    rows = np.unique(np.linspace(0, num_rows - 1, SAMPLE_ROWS).astype(np.int64))
    with table_rows(rows):
        items = prepare_rows(prefix.processor, read(rows))
    sizes = [prefix.processor.size(item) for item in items]
    hidden = prefix(to_device(prefix.processor.collate(items[:1]), device))
    if hidden.tokens_BTD is None:
        raise ConfigError("The first layers of this encoder give no hidden states to train on.")
    bytes_of_size_1 = 4 * hidden.tokens_BTD[0].numel() / sizes[0]
    return bytes_of_size_1 * sum(sizes) / len(rows) * num_rows
