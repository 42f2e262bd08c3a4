"""What a model is fed with: stored features for a frozen encoder, or rows for one that trains."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import torch

from matrixhub.data.store import StoredFeatures
from matrixhub.protocols import Encoder
from matrixhub.run.encode import CHUNK, ahead, table_rows, to_device
from matrixhub.types import Batch, Features

Rows = np.ndarray[Any, np.dtype[np.int64]]
Inputs = Mapping[str, Batch | Features]


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
        if stored.pooled:
            return Features(torch.from_numpy(stored.pooled_rows(rows)).to(self.device))
        tokens_BTD, mask_BT = stored.token_rows(rows)
        tokens, mask = torch.from_numpy(tokens_BTD).to(self.device), torch.from_numpy(mask_BT).to(self.device)
        return Features(tokens.sum(dim=1) / mask.sum(dim=1, keepdim=True).clamp(min=1), tokens, mask)


class RowFeed:
    """Rows for an encoder that trains: tokenized or decoded ahead in threads, batch by batch.

    Args:
        values: raw values of each input, for all rows of the table.
        encoders: by input name.
        device: of the model.
    """

    def __init__(
        self, values: Mapping[str, Sequence[Any]], encoders: Mapping[str, Encoder], device: torch.device
    ) -> None:
        self.values = values
        self.encoders = encoders
        self.device = device

    def inputs(self, batches: Iterable[Rows]) -> Iterator[tuple[Rows, Inputs]]:
        for rows, batch in ahead(self._collate, batches):
            yield rows, {name: to_device(one, self.device) for name, one in batch.items()}

    def lengths(self, rows: Rows) -> Rows | None:
        def sizes(some: Rows) -> Rows:
            with table_rows(some):
                by_input = [self._sizes(name, some) for name in self.encoders]
            total: Rows = np.asarray(by_input, dtype=np.int64).sum(axis=0)
            return total

        # Images have one size as a rule, and decoding them all would only tell that.
        if not len(rows) or len(np.unique(sizes(rows[:CHUNK]))) == 1:
            return None
        return np.concatenate(list(ahead(sizes, [rows[i : i + CHUNK] for i in range(0, len(rows), CHUNK)])))

    def _sizes(self, name: str, rows: Rows) -> list[int]:
        processor = self.encoders[name].processor
        return [processor.size(item) for item in processor.prepare([self.values[name][i] for i in rows])]

    def _collate(self, rows: Rows) -> tuple[Rows, dict[str, Batch]]:
        found = {}
        for name, encoder in self.encoders.items():
            with table_rows(rows):
                items = encoder.processor.prepare([self.values[name][i] for i in rows])
            found[name] = encoder.processor.collate(items)
        return rows, found


def num_truncated(features: Mapping[str, StoredFeatures]) -> int:
    """How many rows were cut to fit an encoder, in any of the inputs."""
    return int(np.logical_or.reduce([stored.truncated for stored in features.values()]).sum())
