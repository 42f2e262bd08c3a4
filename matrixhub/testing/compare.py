"""How far apart two answers are. Tensors are recognized without importing torch."""

import dataclasses
import sys
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypeGuard

if TYPE_CHECKING:
    from torch import Tensor

TOLERANCE = 1e-5
"""Of the largest feature, or of 1 where all are smaller: float32 adds up in another order."""


def is_tensor(value: Any) -> "TypeGuard[Tensor]":
    """Whether it is a tensor of torch."""
    torch = sys.modules.get("torch")
    return torch is not None and isinstance(value, torch.Tensor)


def apart(one: Any, other: Any) -> float:
    """The largest difference between two tensors, infinite for other shapes; 0 or 1 for other values."""
    if not is_tensor(one) or not is_tensor(other):
        return float(one != other)
    if one.shape != other.shape:
        return float("inf")
    if not one.numel() or one.equal(other):
        return 0.0
    difference = (one.detach().double() - other.detach().double()).abs()
    # Two NaN in one place are the same answer; one alone is not.
    difference = difference.masked_fill(one.isnan() & other.isnan(), 0)
    return float(difference.nan_to_num(nan=float("inf")).max())


def tolerance(expected: "Tensor") -> float:
    """What may lie between two equal answers of this size."""
    return TOLERANCE * max(1.0, float(expected.detach().abs().max()) if expected.numel() else 1.0)


def is_finite(value: Any) -> bool:
    """False for a tensor that holds NaN or infinity."""
    return not is_tensor(value) or bool(value.isfinite().all())


def changed(before: Any, now: Any, name: str = "the input") -> list[str]:
    """Names of the parts that differ, in tables, lists, dataclasses and tensors."""
    if is_tensor(before):
        return [] if is_tensor(now) and apart(before, now) == 0 else [name]
    if dataclasses.is_dataclass(before) and not isinstance(before, type):
        fields = [f.name for f in dataclasses.fields(before)]
        return [n for f in fields for n in changed(getattr(before, f), getattr(now, f, None), f)]
    if isinstance(before, Mapping):
        if not isinstance(now, Mapping) or before.keys() != now.keys():
            return [name]
        return [n for key in before for n in changed(before[key], now[key], str(key))]
    if isinstance(before, Sequence) and not isinstance(before, str | bytes):
        if not isinstance(now, Sequence) or len(before) != len(now):
            return [name]
        return [n for a, b in zip(before, now, strict=True) for n in changed(a, b, name)][:1]
    if hasattr(before, "tolist"):  # an array
        return [] if hasattr(now, "tolist") and repr(before.tolist()) == repr(now.tolist()) else [name]
    has_equality = type(before).__eq__ is not object.__eq__  # type: ignore[comparison-overlap]
    return [name] if has_equality and before != now else []
