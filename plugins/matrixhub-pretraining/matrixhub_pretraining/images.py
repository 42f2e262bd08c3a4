"""Images of a folder or a source, some of them held out, and what is hidden of them (Xie et al. 2022).

Shape suffixes: B images, C colours, H height, W width, T patches, M hidden patches, P numbers of a patch.
"""

import hashlib
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from matrixhub import DataError, create
from matrixhub_pretraining.batches import Batch, Taken
from matrixhub_pretraining.examples import DOCUMENT, Examples
from matrixhub_pretraining.options import ImagesConfig, PretrainConfig

_ROWS = 1024


@dataclass(frozen=True, slots=True)
class Images:
    """Those of one side: their values (paths, bytes or what else a source gives) and places in the rows."""

    values: list[Any]
    rows: NDArray[np.int64]


def read_images(options: ImagesConfig) -> tuple[Images, Images, str]:
    """Training and held-out images, copies together, and a digest of all of them.

    Raises:
        DataError: a side is left without images, or the source has no such column.
    """
    sides: dict[bool, tuple[list[Any], list[int]]] = {False: ([], []), True: ([], [])}
    digest = hashlib.sha256()
    for row, value in enumerate(_values(options)):
        if value is None:
            continue
        content = _content(value, row=row, column=options.column)
        digest.update(content)
        chance = hashlib.sha256(f"{options.seed}\0".encode() + content).digest()
        values, rows = sides[int.from_bytes(chance[:8], "big") < options.held_out * 2**64]
        values.append(value)
        rows.append(row)
    train, held_out = (Images(values, np.array(rows, np.int64)) for values, rows in sides.values())
    if not train.values:
        raise DataError("No image is left to train on: give more images, or a smaller images.held_out.")
    if options.held_out and not held_out.values:
        raise DataError(
            f"None of the {len(train.values)} images is held out: give more of them, or a larger"
            f" images.held_out ({options.held_out} now), or 0 to do without."
        )
    return train, held_out, digest.hexdigest()


def _values(options: ImagesConfig) -> Iterator[Any]:
    if options.source is None:
        source = create("source", "core.images", path=str(options.path), labelled=False)
    else:
        source = create("source", options.source, **options.options)
    for table in source.batches(_ROWS):
        if options.column not in table.column_names:
            there = ", ".join(table.column_names)
            raise DataError(
                f"there is no column '{options.column}'. Type: images.column=NAME, one of {there}."
            )
        yield from table.column(options.column).to_pylist()


def _content(value: Any, *, row: int, column: str) -> bytes:
    """A digest of the bytes of an image, wherever they are."""
    if isinstance(value, Mapping):
        value = value["bytes"] if value.get("bytes") is not None else value.get("path")
    try:
        content = Path(value).read_bytes() if isinstance(value, str) else bytes(value)
    except (OSError, TypeError, ValueError) as error:
        raise DataError(f"this is no image: {error}", row=row, column=column) from error
    return hashlib.sha256(content).digest()


@dataclass(frozen=True, slots=True)
class Grid:
    """How an image is cut.

    Attributes:
        side: of an image in pixels.
        num: patches along it.
        block: patches along the side of what is hidden together.
    """

    side: int
    num: int
    block: int

    @property
    def patch(self) -> int:
        """Side of a patch in pixels."""
        return self.side // self.num

    def hide(self, share: float, rng: np.random.Generator) -> NDArray[np.bool_]:
        """Which patches are hidden, bool (T,): blocks at random, their share rounded up, but never all."""
        blocks = self.num // self.block
        hidden = np.zeros(blocks * blocks, dtype=bool)
        count = min(math.ceil(share * len(hidden)), len(hidden) - 1)
        hidden[rng.permutation(len(hidden))[:count]] = True
        square = hidden.reshape(blocks, blocks)
        return square.repeat(self.block, axis=0).repeat(self.block, axis=1).reshape(-1)

    def patches(self, pixels_BCHW: Tensor) -> Tensor:
        """Patches row by row, each one colour after the other, (B, T, P)."""
        n, p, count = self.num, self.patch, len(pixels_BCHW)
        return pixels_BCHW.reshape(count, -1, n, p, n, p).permute(0, 2, 4, 1, 3, 5).reshape(count, n * n, -1)


@dataclass(frozen=True, slots=True)
class ImageMaker:
    """Makes batches of the images of one side.

    Attributes:
        images: of that side.
        processor: of the encoder.
        grid: how they are cut.
        options: of the pre-training.
    """

    images: Images
    processor: Any
    grid: Grid
    options: PretrainConfig

    @property
    def rows(self) -> NDArray[np.int64]:
        """Each image's place in the rows."""
        return self.images.rows

    def examples(self, epoch: int) -> Examples:
        """All of an epoch in a random order of its own; all are of one length."""
        count = len(self.images.values)
        made = np.zeros((count, DOCUMENT + 1), np.int64)
        made[:, DOCUMENT] = np.random.default_rng([self.options.trainer.seed, epoch]).permutation(count)
        return made

    def batch(self, taken: Sequence[Taken]) -> Batch:
        """Images; what is hidden depends on nothing but seed, epoch and position.

        Returns:
            ``pixels``, uint8 (B, 3, H, W), as the encoder reads them; ``hidden``, bool (B, T);
            ``guess``, float32 (M, P), the hidden patches in 0..1.

        Raises:
            DataError: an image that cannot be read.
        """
        seed, share = self.options.trainer.seed, self.options.images.masked
        items = [self._item(int(examples[at, DOCUMENT])) for examples, _, at in taken]
        pixels_BCHW = self.processor.collate(items)["pixels"]
        masks = [self.grid.hide(share, np.random.default_rng([seed, epoch, at])) for _, epoch, at in taken]
        hidden_BT = torch.from_numpy(np.stack(masks))
        guess_MP = self.grid.patches(pixels_BCHW)[hidden_BT].float() / 255
        return {"pixels": pixels_BCHW, "hidden": hidden_BT, "guess": guess_MP}

    def _item(self, number: int) -> Any:
        try:
            (item,) = self.processor.prepare([self.images.values[number]])
        except DataError as error:
            row, column = int(self.images.rows[number]), self.options.images.column
            raise DataError(error.message, row=row, column=column) from error
        return item
