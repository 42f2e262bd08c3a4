"""How an encoder runs when only encoding: precision, size of batches, layout of weights in memory."""

import contextlib
import itertools
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor

PRECISIONS = {
    "float32": torch.float32,
    "bfloat16": torch.bfloat16,
    "float16": torch.float16,
    "autocast": torch.bfloat16,
}
"""``autocast`` keeps the weights and runs matrix products in bfloat16; the others turn the weights."""

_LAYOUTS = {True: torch.channels_last, False: torch.contiguous_format}


@dataclass(frozen=True, slots=True)
class Setting:
    """A way to run an encoder.

    Attributes:
        precision: of ``PRECISIONS``; float32 leaves the weights as they were built.
        budget: as of ``Encoder.budget``.
        channels_last: whether weights of convolutions have colour as their innermost dimension.
    """

    precision: str
    budget: int
    channels_last: bool

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)


def as_built(encoder: Any, precision: str = "float32") -> Setting:
    """The setting an encoder comes with."""
    return Setting(precision, encoder.budget, any(_is_channels_last(p) for p in encoder.parameters()))


@contextlib.contextmanager
def running(encoder: Any, setting: Setting) -> Iterator[None]:
    """The encoder as the setting wants it; afterwards its own weights again, to the last bit.

    Not for two threads at once: the weights of the one module are exchanged.
    """
    weights = list(_weights(encoder))
    kept = [weight.data for weight in weights]
    dtype = PRECISIONS[setting.precision]
    autocast = setting.precision == "autocast"
    turned = None if autocast or setting.precision == "float32" else dtype
    try:
        for weight in weights:
            weight.data = _turned(weight.data, turned, channels_last=setting.channels_last)
        device = next((weight.device.type for weight in weights), "cpu")
        with torch.autocast(device, dtype) if autocast else contextlib.nullcontext():
            yield
    finally:
        for weight, data in zip(weights, kept, strict=True):
            weight.data = data


def _weights(encoder: Any) -> Iterator[Tensor]:
    """Parameters, and buffers beside them (such as running means).

    A buffer of a module without parameters is a constant, such as a mean colour or the frequencies of
    positions: rounding it would shift every row the same way, and saves nothing.
    """
    seen: set[int] = set()
    for module in encoder.modules():
        own = list(module.parameters(recurse=False))
        for tensor in itertools.chain(own, module.buffers(recurse=False) if own else ()):
            if tensor.is_floating_point() and id(tensor) not in seen:
                seen.add(id(tensor))
                yield tensor


def _turned(data: Tensor, dtype: torch.dtype | None, *, channels_last: bool) -> Tensor:
    data = data if dtype is None else data.to(dtype)
    return data.contiguous(memory_format=_LAYOUTS[channels_last]) if data.ndim == 4 else data


def _is_channels_last(tensor: Tensor) -> bool:
    return (
        tensor.ndim == 4
        and tensor.is_contiguous(memory_format=torch.channels_last)
        and not tensor.is_contiguous()
    )
