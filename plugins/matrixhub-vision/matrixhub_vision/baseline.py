"""The simplest honest features of images."""

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

SIDE = 32


def raw_pixels(
    train: Sequence[Any], test: Sequence[Any], *, decode: Callable[[Any], Image.Image]
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Pixels in 0..1, at no more than 32 x 32 and no more than the images have; grey ones as one channel.

    Args:
        train: images that decide the size and the number of channels.
        test: other images.
        decode: value to RGB image; called in threads.

    Returns:
        Two dense matrices, one row an image.
    """
    with ThreadPoolExecutor() as pool:
        small = list(pool.map(lambda value: _shrink(decode(value), SIDE, SIDE), [*train, *test]))
    width = max(image.width for image in small[: len(train)])
    height = max(image.height for image in small[: len(train)])
    pixels_NHWC = np.stack([np.asarray(image.resize((width, height))) for image in small])
    known_NHWC = pixels_NHWC[: len(train)]
    if (known_NHWC == known_NHWC[..., :1]).all():
        pixels_NHWC = pixels_NHWC[..., :1]
    flat_ND = np.divide(pixels_NHWC.reshape(len(small), -1), 255, dtype=np.float32)
    return flat_ND[: len(train)], flat_ND[len(train) :]


def _shrink(image: Image.Image, width: int, height: int) -> Image.Image:
    return image.resize((min(width, image.width), min(height, image.height)), Image.Resampling.BOX)
