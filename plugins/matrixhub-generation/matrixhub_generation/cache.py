"""Keys and values of rows that are being written: grown in place, thinned out, put together.

Shape suffixes: B rows, H heads, T tokens, D width of a head.
"""

import inspect
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor
from transformers.cache_utils import Cache, DynamicLayer

ROOM = 64
"""Tokens for which memory is taken ahead."""


class RoomyLayer(DynamicLayer):  # type: ignore[misc]
    """A layer that writes new tokens behind the old ones, where its parent copies all of them each time."""

    keys: Tensor
    values: Tensor

    def update(self, key_states: Tensor, value_states: Tensor, *args: Any, **kwargs: Any) -> Any:
        """All keys and values, with the new ones."""
        if not self.is_initialized:
            self.lazy_initialization(key_states, value_states)
            self._memory: dict[str, Tensor] = {}
        self.keys = self._grown("keys", self.keys, key_states)
        self.values = self._grown("values", self.values, value_states)
        return self.keys, self.values

    def _grown(self, name: str, old: Tensor, new_BHTD: Tensor) -> Tensor:
        num_old, num_new = (old.shape[-2] if old.numel() else 0), new_BHTD.shape[-2]
        memory = self._memory.get(name)
        fits = memory is not None and memory.shape[2] >= num_old + num_new
        if memory is None or not fits or old.data_ptr() != memory.data_ptr():
            rows, heads, _, width = new_BHTD.shape
            memory = new_BHTD.new_empty(rows, heads, num_old + num_new + ROOM, width)
            if num_old:
                memory[:, :, :num_old] = old
            self._memory[name] = memory
        memory[:, :, num_old : num_old + num_new] = new_BHTD
        return memory[:, :, : num_old + num_new]


def empty() -> Cache:
    """Of no row."""
    return Cache(layer_class_to_replicate=RoomyLayer)


def keyword(model: Any) -> str:
    """What a model calls the cache it is given; newer versions of transformers have another name for it."""
    return "cache" if "cache" in inspect.signature(model.forward).parameters else "past_key_values"


def copied(cache: Cache, num_rows: int) -> Cache:
    """The one row of a cache, as so many rows that go on from there."""
    found = empty()
    for index, layer in enumerate(cache.layers):
        found.update(
            layer.keys.expand(num_rows, -1, -1, -1), layer.values.expand(num_rows, -1, -1, -1), index
        )
    return found


def thin(cache: Cache, rows: Tensor, columns: Tensor | None = None) -> None:
    """Keep some rows, and some places of tokens."""
    for layer in _filled(cache):
        layer.keys, layer.values = _picked(layer.keys, rows, columns), _picked(layer.values, rows, columns)


def _picked(states_BHTD: Tensor, rows: Tensor, columns: Tensor | None) -> Tensor:
    found = states_BHTD if columns is None else states_BHTD.index_select(2, columns)
    return found.index_select(0, rows)


def put_below(cache: Cache, other: Cache) -> None:
    """Add the rows of another cache below; the shorter one is padded on the left."""
    for layer, more in zip(_filled(cache), _filled(other), strict=True):
        layer.keys, layer.values = _stacked(layer.keys, more.keys), _stacked(layer.values, more.values)


def _stacked(first_BHTD: Tensor, second_BHTD: Tensor) -> Tensor:
    width = max(first_BHTD.shape[2], second_BHTD.shape[2])
    return torch.cat([left_padded(one, width, 2) for one in (first_BHTD, second_BHTD)])


def left_padded(states: Tensor, width: int, dim: int) -> Tensor:
    """With zeros before, along a dimension."""
    if states.shape[dim] == width:
        return states
    shape = list(states.shape)
    shape[dim] = width - states.shape[dim]
    return torch.cat([states.new_zeros(shape), states], dim=dim)


def _filled(cache: Cache) -> Iterator[Any]:
    return (layer for layer in cache.layers if layer.is_initialized)
