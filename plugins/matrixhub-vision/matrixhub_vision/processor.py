"""Images of any kind to square RGB pixels, exactly as timm's own evaluation transform makes them."""

import io
import math
import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from timm.data import create_transform

from matrixhub import Batch, DataError

Pixels: TypeAlias = NDArray[np.uint8]

_ORIENTATION = 0x0112
_UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
"""EXIF orientation to what turns the image upright."""


class ImageProcessor:
    """Decodes, resizes and crops. Pixels stay bytes; the encoder normalizes them on its own device.

    Args:
        data_config: as of ``timm.data.resolve_model_data_config``.
        max_megapixels: a larger image, or one so narrow that it would grow larger, is refused.
    """

    def __init__(self, data_config: Mapping[str, Any], *, max_megapixels: float = 64.0) -> None:
        self.data_config = dict(data_config)
        self.max_pixels = int(max_megapixels * 1_000_000)
        height, self._size = data_config["input_size"][1:]
        self._short = math.floor(self._size / data_config["crop_pct"])
        self._interpolation = Image.Resampling[data_config["interpolation"].upper()]
        self._transform: Callable[[Image.Image], Any] | None = None
        if height != self._size or data_config["crop_mode"] != "center" or self._short < self._size:
            self._transform = create_transform(**data_config, is_training=False, use_prefetcher=True)

    def prepare(self, values: Sequence[Any]) -> list[Pixels]:
        """Decode: paths, bytes, ``{"bytes", "path"}`` mappings, PIL images or arrays, as ``decode`` takes.

        Returns:
            uint8 (height, width, 3) each.

        Raises:
            DataError: a value that is not an image, cannot be read to its end, or is too large.
        """
        return [self._prepare(row, value) for row, value in enumerate(values)]

    def size(self, item: Pixels) -> int:
        """Every image costs the same: 1."""
        return 1

    def collate(self, items: Sequence[Pixels]) -> Batch:
        """Stack.

        Returns:
            ``pixels``, uint8 (B, 3, height, width), channels last in memory; ``truncated``, all False.
        """
        pixels_BHWC = torch.from_numpy(np.stack(items))
        return {
            "pixels": pixels_BHWC.permute(0, 3, 1, 2),
            "truncated": torch.zeros(len(items), dtype=torch.bool),
        }

    def _prepare(self, row: int, value: Any) -> Pixels:
        try:
            image = decode(value, max_pixels=self.max_pixels)
            self._check_shape(*image.size)
            if self._transform is not None:
                return np.ascontiguousarray(np.asarray(self._transform(image)).transpose(1, 2, 0))
            return np.asarray(self._center(image))
        except UnreadableImageError as error:
            raise DataError(f"{_name(value)} {error}", row=row) from error

    def _check_shape(self, width: int, height: int) -> None:
        """Refuse what would grow beyond all measure when its shorter side is resized."""
        short, long = sorted((width, height))
        if self._short**2 * long / short > self.max_pixels and self.data_config["crop_mode"] == "center":
            raise UnreadableImageError(f"is {width} x {height} pixels, too narrow to be resized")

    def _center(self, image: Image.Image) -> Image.Image:
        """Shorter side to ``self._short``, then the square in the middle; rounded as torchvision does."""
        width, height = image.size
        short = min(width, height)
        resized = [self._short if side == short else int(self._short * side / short) for side in image.size]
        # The square that is kept, in pixels of the resized image, and of the image itself.
        left, top = (round((side - self._size) / 2.0) for side in resized)
        crop = (left, top, left + self._size, top + self._size)
        corners = [side * short / self._short for side in crop]
        # Resizing nothing but that square takes a third less time. It gives the same pixels if the
        # corners are exact in Pillow's single precision, and if Pillow, which resizes one side after the
        # other and rounds between, takes the sides in the same order: of a square image it does.
        if width == height and all(float(np.float32(corner)) == corner for corner in corners):
            return image.resize((self._size, self._size), self._interpolation, box=tuple(corners))
        return image.resize((resized[0], resized[1]), self._interpolation).crop(crop)


class UnreadableImageError(ValueError):
    """Why a value is no image; the text goes on from the image's name."""


def decode(value: Any, *, max_pixels: int) -> Image.Image:
    """An upright RGB image.

    EXIF rotation is undone; transparency is laid on white; 16-bit grey is scaled to 8 bits (by 1/257),
    not cut off; CMYK, palettes and 1-bit images are converted as Pillow does.

    Args:
        value: a path, encoded bytes, a mapping with ``bytes`` or ``path``, a PIL image, or an array
            (H, W), (H, W, 1), (H, W, 3) or (H, W, 4) of uint8, bool, uint16, other integers in 0..255,
            or floats in 0..1.
        max_pixels: a larger image is refused before it is decoded.

    Raises:
        UnreadableImageError: it is none of these, too large, or cannot be read to its end.
    """
    if isinstance(value, Mapping):
        value = value["bytes"] if value.get("bytes") is not None else value.get("path")
    if isinstance(value, np.ndarray):
        return _from_array(value, max_pixels)
    if isinstance(value, Image.Image):
        return _read(value, max_pixels)
    if not isinstance(value, str | os.PathLike | bytes | bytearray | memoryview):
        raise UnreadableImageError(
            "is not an image: give a path, bytes, a PIL image, an array or a mapping with 'bytes' or 'path'"
        )
    try:
        with Image.open(value if isinstance(value, str | os.PathLike) else io.BytesIO(value)) as image:
            return _read(image, max_pixels)
    except UnreadableImageError:
        raise
    except FileNotFoundError:
        raise UnreadableImageError("is not there") from None
    except Exception as error:  # a broken file can make a decoder raise anything
        raise UnreadableImageError(f"cannot be read as an image ({type(error).__name__}: {error})") from error


def _read(image: Image.Image, max_pixels: int) -> Image.Image:
    _check_size(*image.size, max_pixels)
    image.load()
    turned = _UPRIGHT.get(_orientation(image))
    return _to_rgb(image if turned is None else image.transpose(turned))


def _check_size(width: int, height: int, max_pixels: int) -> None:
    if width * height > max_pixels:
        raise UnreadableImageError(
            f"has {width} x {height} pixels ({width * height / 1e6:.1f} megapixels), more than"
            f" max_megapixels={max_pixels / 1e6:g} of its encoder"
        )


def _orientation(image: Image.Image) -> int:
    try:
        return int(image.getexif().get(_ORIENTATION, 1))
    except Exception:  # a damaged EXIF block says nothing about the pixels
        return 1


def _to_rgb(image: Image.Image) -> Image.Image:
    if image.mode.startswith("I") or image.mode == "F":
        array = np.asarray(image)
        return _from_array(array if image.mode == "F" else _as_uint16(array), max_pixels=array.size)
    if image.has_transparency_data:
        image = image.convert("RGBA")
        return Image.alpha_composite(Image.new("RGBA", image.size, "white"), image).convert("RGB")
    return image if image.mode == "RGB" else image.convert("RGB")


def _as_uint16(array: NDArray[Any]) -> NDArray[np.uint16]:
    if array.min() < 0 or array.max() > 65535:
        raise UnreadableImageError("has 32-bit pixels: save it with 8 or 16 bits a channel")
    return array.astype(np.uint16)


def _from_array(array: NDArray[Any], max_pixels: int) -> Image.Image:
    shape = array.shape
    if array.ndim == 3 and shape[2] == 1:
        array = array[..., 0]
    if 0 in shape or not (array.ndim == 2 or (array.ndim == 3 and shape[2] in (3, 4))):
        raise UnreadableImageError(f"has shape {shape}: give (H, W), (H, W, 1), (H, W, 3) or (H, W, 4)")
    _check_size(shape[1], shape[0], max_pixels)
    return _to_rgb(Image.fromarray(np.ascontiguousarray(_as_bytes(array))))


def _as_bytes(array: NDArray[Any]) -> Pixels:
    """Any number of bits to 8, rounded to the nearest."""
    if array.dtype == np.uint8:
        return array
    if array.dtype == np.bool_:
        return array.astype(np.uint8) * np.uint8(255)
    if array.dtype == np.uint16:
        return ((array.astype(np.uint32) + 128) // 257).astype(np.uint8)
    limit = 1 if array.dtype.kind == "f" else 255
    # Written so that NaN is refused too.
    if array.dtype.kind not in "fiu" or not (array.min() >= 0 and array.max() <= limit):
        raise UnreadableImageError(f"is an array of {array.dtype}: give integers in 0..255 or floats in 0..1")
    return np.rint(array * (255 / limit)).astype(np.uint8)


def _name(value: Any) -> str:
    """What to call a value in a message, without its content."""
    if isinstance(value, Mapping):
        return _name(value.get("path") or value.get("bytes"))
    if isinstance(value, str | os.PathLike):
        return f"'{Path(value)}'"
    return f"this {type(value).__name__}"
