"""What a model is fed with: stored features for a frozen encoder, or rows for one that trains."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Protocol

import numpy as np
import torch

from matrixhub.data.segments import Array
from matrixhub.data.store import StoredFeatures
from matrixhub.protocols import Encoder
from matrixhub.run.encode import CHUNK, ahead, table_rows, to_device
from matrixhub.run.model import PRESENT
from matrixhub.types import Batch, Features

Rows = np.ndarray[Any, np.dtype[np.int64]]
Inputs = Mapping[str, Batch | Features]
NONE: Mapping[str, Array] = MappingProxyType({})


class Feed(Protocol):
    """Inputs of a model for batches of rows, ready on its device."""

    def inputs(self, batches: Iterable[Rows]) -> Iterator[tuple[Rows, Inputs]]:
        """Each batch of row positions with the model's inputs for it, prepared ahead."""
        ...

    def lengths(self, rows: Rows) -> Rows | None:
        """Cost of each of these rows (N,), all inputs together; None where they cost the same.

        Raises:
            DataError: a value cannot be processed; names the row of the table.
        """
        ...


@dataclass(frozen=True, slots=True)
class FeatureFeed:
    """Features that were encoded once.

    Attributes:
        stored: by input name.
        device: of the model.
    """

    stored: Mapping[str, StoredFeatures]
    device: torch.device

    def inputs(self, batches: Iterable[Rows]) -> Iterator[tuple[Rows, Inputs]]:
        for rows in batches:
            yield rows, {name: self.features(name, rows) for name in self.stored}

    def lengths(self, rows: Rows) -> Rows | None:
        found: Rows = np.sum([stored.spans[rows, 1] for stored in self.stored.values()], axis=0)
        return found if len(np.unique(found)) > 1 else None

    def features(self, name: str, rows: Rows) -> Features:
        """Features of these rows for one input."""
        stored = self.stored[name]
        present = None if stored.present is None else self._on_device(stored.present[rows])
        if stored.pooled:
            return Features(self._on_device(stored.pooled_rows(rows)), present_B=present)
        tokens, mask = map(self._on_device, stored.token_rows(rows))
        if stored.leads:
            return Features(tokens[:, 0], tokens[:, 1:], mask[:, 1:], present)
        pooled = tokens.sum(dim=1) / mask.sum(dim=1, keepdim=True).clamp(min=1)
        return Features(pooled, tokens, mask, present)

    def _on_device(self, array: Array) -> torch.Tensor:
        return torch.from_numpy(array).to(self.device)


class RowFeed:
    """Rows for an encoder that trains: tokenized or decoded ahead in threads, batch by batch.

    Args:
        values: raw values of each input, for all rows of the table.
        encoders: by input name.
        device: of the model.
        present: by optional input, which rows of the table have it.
    """

    def __init__(
        self,
        values: Mapping[str, Sequence[Any]],
        encoders: Mapping[str, Encoder],
        device: torch.device,
        *,
        present: Mapping[str, Array] = NONE,
    ) -> None:
        self.values = values
        self.encoders = encoders
        self.device = device
        self.present = present

    def inputs(self, batches: Iterable[Rows]) -> Iterator[tuple[Rows, Inputs]]:
        for rows, batch in ahead(self._collate, batches):
            yield rows, {name: to_device(one, self.device) for name, one in batch.items()}

    def lengths(self, rows: Rows) -> Rows | None:
        def sizes(some: Rows) -> Rows:
            total: Rows = np.sum([self._sizes(name, some) for name in self.encoders], axis=0)
            return total

        # Images have one size as a rule, and decoding them all would only tell that.
        if not len(rows) or len(np.unique(sizes(rows[:CHUNK]))) == 1:
            return None
        return np.concatenate(list(ahead(sizes, [rows[i : i + CHUNK] for i in range(0, len(rows), CHUNK)])))

    def _sizes(self, name: str, rows: Rows) -> Rows:
        """Of each row (N,); 1 of one that lacks the input, or rows of images would differ in size."""
        sizes, processor = np.ones(len(rows), dtype=np.int64), self.encoders[name].processor
        has_it = self.present[name][rows] if name in self.present else slice(None)
        with table_rows(rows[has_it]):
            items = processor.prepare([self.values[name][i] for i in rows[has_it]])
        sizes[has_it] = [processor.size(item) for item in items]
        return sizes

    def _collate(self, rows: Rows) -> tuple[Rows, dict[str, Batch]]:
        return rows, {name: self._batch(name, rows) for name in self.encoders}

    def _batch(self, name: str, rows: Rows) -> Batch:
        """Of an optional input, of the rows that have it, or of one in the table where none has."""
        processor, present = self.encoders[name].processor, self.present.get(name)
        if present is not None:
            kept = rows[present[rows]]
            has_it, rows = present[rows], kept if len(kept) else np.flatnonzero(present)[:1]
        with table_rows(rows):
            batch = processor.collate(processor.prepare([self.values[name][i] for i in rows]))
        return batch if present is None else batch | {PRESENT: torch.from_numpy(has_it)}


def num_truncated(features: Mapping[str, StoredFeatures]) -> int:
    """How many rows were cut to fit an encoder, in any of the inputs."""
    return int(np.logical_or.reduce([stored.truncated for stored in features.values()]).sum())
