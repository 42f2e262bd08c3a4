"""Some rows of a table, on which ways to run an encoder are timed and compared."""

import functools
import hashlib
import math
import time
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import cosine_similarity

from matrixhub.data.batching import budget_batches
from matrixhub.run.encode import in_parallel, num_workers, prepare_rows, table_rows, to_device
from matrixhub.run.setting import Setting, running
from matrixhub.types import Features

ROWS = 32
"""Spread over the table."""

LEAST_COSINE = 0.999
"""Between the features of a row, pooled or of its tokens, and those it is compared with."""

LARGEST_ERROR = 0.01
"""Squared distance between the two, as a share of the variance between rows. Where all rows lie close
together, cosines are near 1 even if what tells the rows apart is lost."""

FEW = 8
"""Rows of a batch that tells about how long all of them take."""

TIMES, ENOUGH = 3, 0.5
"""How often a batch is timed after the first, if it looks promising and these seconds are not over; the
shortest time counts."""


class Sample:
    """Rows of a table and an encoder.

    Args:
        encoder: in eval mode, on ``device``.
        read: gives the values of rows, an array of positions.
        num_rows: of the table.
        device: where the encoder is.
    """

    def __init__(
        self, encoder: Any, read: Callable[[Any], Sequence[Any]], *, num_rows: int, device: torch.device
    ) -> None:
        self.encoder, self.num_rows, self.device = encoder, num_rows, device
        self._rows = np.unique(np.linspace(0, num_rows - 1, ROWS).astype(np.int64))
        self._values = read(self._rows)
        self._known: dict[Setting, tuple[Tensor, list[Tensor]]] = {}

    @property
    def digest(self) -> str:
        """Of the rows' values."""
        return hashlib.sha256(repr(self._values).encode(errors="surrogatepass")).hexdigest()[:16]

    @property
    def has_convolutions(self) -> bool:
        """Whether the layout of the encoder's weights can matter."""
        return any(isinstance(module, nn.Conv2d) for module in self.encoder.modules())

    def rough_pace(self, setting: Setting) -> float:
        """Seconds a row, from one small batch; inf if it fails, as of ``pace``."""
        items = [self._typical] * min(FEW, max(1, setting.budget // max(1, self._size(self._typical))))
        try:
            with running(self.encoder, setting), torch.inference_mode():
                # The first run of all has much to set up.
                return min(self._seconds(items), self._seconds(items)) / len(items)
        except Exception:
            return math.inf

    def pace(self, setting: Setting, *, than: float = math.inf) -> float:
        """Seconds a row in full batches; only roughly where it is more than ``than``, inf if it fails."""
        items = [self._typical] * max(1, setting.budget // max(1, self._size(self._typical)))
        try:
            with running(self.encoder, setting), torch.inference_mode():
                # One row first: a precision that this processor only imitates shows itself there.
                if self._seconds(items[:1]) > 4 * than * len(items):
                    return math.inf
                return self._shortest(items, than * len(items)) / len(items)
        except Exception:  # whatever an encoder raises in a setting, it cannot be used in it
            return math.inf

    def agrees(self, setting: Setting, built: Setting) -> bool:
        """Whether features are those of ``built`` but for rounding, row by row."""
        if self.failure(setting):
            return False
        (pooled_ND, tokens), (full_ND, full_tokens) = self._features(setting), self._features(built)
        error = (pooled_ND - full_ND).square().sum()
        spread = (full_ND - full_ND.mean(dim=0)).square().sum()
        pairs = zip([*pooled_ND, *tokens], [*full_ND, *full_tokens], strict=True)
        return bool(error <= LARGEST_ERROR * spread) and all(_is_close(*pair) for pair in pairs)

    def failure(self, setting: Setting) -> str:
        """What goes wrong in that setting; empty if nothing does."""
        self._batches  # noqa: B018  a value that cannot be read is not the setting's failure
        try:
            self._features(setting)
        except Exception as error:  # as in ``pace``
            return f"{type(error).__name__}: {error}"
        return ""

    @functools.cached_property
    def _items(self) -> list[Any]:
        with table_rows(self._rows):
            return prepare_rows(self.encoder.processor, self._values)

    @functools.cached_property
    def _batches(self) -> list[list[int]]:
        return budget_batches([self._size(item) for item in self._items], self.encoder.budget)

    @functools.cached_property
    def _typical(self) -> Any:
        """The item in the middle of all the work: half of it is on rows no larger than this."""
        items = sorted(self._items, key=self._size)
        done = np.cumsum([self._size(item) for item in items])
        return items[int(np.searchsorted(done, done[-1] / 2))]

    def _size(self, item: Any) -> int:
        size: int = self.encoder.processor.size(item)
        return size

    def _shortest(self, items: Sequence[Any], than: float) -> float:
        # The first run of a batch of a new shape has things to set up.
        best = spent = self._seconds(items)
        for _ in range(TIMES):
            if best > 2 * than:
                break
            best = min(best, seconds := self._seconds(items))
            spent += seconds
            if spent > ENOUGH:
                break
        return best

    def _seconds(self, items: Sequence[Any]) -> float:
        """Of a batch, where as many run at a time as will when all rows are encoded."""
        batch = to_device(self.encoder.processor.collate(items), self.device)
        count = num_workers(self.device)
        started = time.perf_counter()
        for _ in in_parallel(lambda one: self.encoder(one).pooled_BD.cpu(), [batch] * count, self.device):
            pass
        return (time.perf_counter() - started) / count

    def _features(self, setting: Setting) -> tuple[Tensor, list[Tensor]]:
        """Pooled (N, D), and the real tokens of each row as one vector, where there are tokens."""
        if setting not in self._known:
            with running(self.encoder, setting), torch.inference_mode():
                parts = [self._encode(rows) for rows in self._batches]
            tokens = [row for part in parts for row in _real(part)]
            self._known[setting] = torch.cat([part.pooled_BD.float() for part in parts]), tokens
        return self._known[setting]

    def _encode(self, rows: Sequence[int]) -> Features:
        batch = self.encoder.processor.collate([self._items[row] for row in rows])
        features: Features = self.encoder(to_device(batch, self.device))
        return features


def _is_close(one_D: Tensor, other_D: Tensor) -> bool:
    """Written so that NaN is close to nothing, and zeros to zeros."""
    return torch.equal(one_D, other_D) or bool(cosine_similarity(one_D, other_D, dim=0) >= LEAST_COSINE)


def _real(features: Features) -> list[Tensor]:
    tokens_BTD, mask_BT = features.tokens_BTD, features.mask_BT
    if tokens_BTD is None or mask_BT is None:
        return []
    return [row_TD[real_T].float().flatten() for row_TD, real_T in zip(tokens_BTD, mask_BT, strict=True)]
