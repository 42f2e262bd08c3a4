"""Streams of tables, cut anew."""

import itertools
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, TypeVar

from matrixhub.errors import ConfigError

if TYPE_CHECKING:
    import pyarrow as pa

Item = TypeVar("Item")


def rechunk(blocks: "Iterable[pa.Table]", batch_size: int) -> "Iterator[pa.Table]":
    """The same rows, ``batch_size`` a table (the last may be smaller).

    Raises:
        ConfigError: ``batch_size`` is below 1.
    """
    import pyarrow as pa

    if batch_size < 1:
        raise ConfigError(f"batch_size is {batch_size}: it must be at least 1.")
    held: list[pa.Table] = []
    num_held = 0
    for block in blocks:
        held.append(block)
        num_held += block.num_rows
        if num_held < batch_size:
            continue
        rows = pa.concat_tables(held)
        whole = num_held - num_held % batch_size
        yield from (rows.slice(start, batch_size) for start in range(0, whole, batch_size))
        num_held -= whole
        held = [rows.slice(whole)] if num_held else []
    if held:
        yield pa.concat_tables(held)


def head(blocks: "Iterable[pa.Table]", limit: int | None) -> "Iterator[pa.Table]":
    """The first ``limit`` rows, reading no further than they need; all of them for None."""
    if limit is None:
        yield from blocks
        return
    for block in blocks:
        yield block.slice(0, limit)
        limit -= block.num_rows
        if limit <= 0:
            return


def chunked(items: Iterable[Item], size: int) -> Iterator[list[Item]]:
    """Lists of ``size`` items, the last may be shorter."""
    remaining = iter(items)
    while chunk := list(itertools.islice(remaining, size)):
        yield chunk
