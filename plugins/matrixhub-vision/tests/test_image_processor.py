"""Images in all their forms to pixels, and what is refused (reliability row 22)."""

import io
import struct
import subprocess
import sys
import zlib
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import timm
import torch
from matrixhub_vision.processor import ImageProcessor
from PIL import Image
from timm.data import create_transform

from matrixhub import DataError

DATA = {
    "input_size": [3, 224, 224],
    "interpolation": "bicubic",
    "mean": [0.485, 0.456, 0.406],
    "std": [0.229, 0.224, 0.225],
    "crop_pct": 0.875,
    "crop_mode": "center",
}
# As large as an image: nothing is resized, so that pixels can be compared one by one.
WHOLE = {**DATA, "input_size": [3, 8, 8], "crop_pct": 1.0}
SIZES = [
    (250, 250),
    (224, 224),
    (256, 256),
    (640, 480),
    (333, 517),
    (37, 41),
    (1, 1),
    (8, 300),
    (1024, 768),
    (255, 257),
]


def photo(width: int, height: int) -> Image.Image:
    """A colourful picture with fine detail and flat parts."""
    y, x = np.mgrid[:height, :width]
    noise = np.random.default_rng(width * 7919 + height).integers(0, 60, (height, width, 3))
    waves = np.stack([np.sin(x / 7) * 90 + 90, np.cos(y / 5) * 90 + 90, (x * y) % 190], axis=-1)
    return Image.fromarray((waves + noise).clip(0, 255).astype(np.uint8))


def pixels(processor: ImageProcessor, value: Any) -> np.ndarray[Any, np.dtype[np.uint8]]:
    (item,) = processor.prepare([value])
    return item


def encoded(image: Image.Image, format_: str, **options: Any) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, format_, **options)
    return buffer.getvalue()


@pytest.mark.parametrize("size", SIZES, ids=lambda size: f"{size[0]}x{size[1]}")
@pytest.mark.parametrize(
    "options",
    [
        {},
        {"interpolation": "bilinear", "crop_pct": 0.9},
        {"input_size": [3, 256, 256], "crop_pct": 1.0, "interpolation": "lanczos"},
        {"interpolation": "nearest"},
        {"crop_mode": "squash"},
        {"crop_mode": "border"},
        {"input_size": [3, 160, 224]},
    ],
    ids=["center", "bilinear", "lanczos", "nearest", "squash", "border", "oblong"],
)
def test_pixels_equal_timms_transform(size: tuple[int, int], options: dict[str, Any]) -> None:
    data = {**DATA, **options}
    image = photo(*size)
    wanted = create_transform(**data, is_training=False, normalize=False)(image)
    ours = ImageProcessor(data).collate([pixels(ImageProcessor(data), image)])["pixels"][0]
    assert ours.dtype == torch.uint8
    assert torch.equal(ours, wanted)


def test_pixels_equal_timms_transform_at_every_size_of_a_range() -> None:
    processor, reference = ImageProcessor(DATA), create_transform(**DATA, is_training=False, normalize=False)
    for width in range(200, 320, 3):
        image = photo(width, 520 - width)
        assert np.array_equal(pixels(processor, image).transpose(2, 0, 1), reference(image).numpy()), width


def test_batch_is_uint8_and_channels_last_in_memory() -> None:
    processor = ImageProcessor(DATA)
    items = processor.prepare([photo(250, 250), photo(300, 200)])
    batch = processor.collate(items)
    assert (batch["pixels"].shape, batch["pixels"].dtype) == ((2, 3, 224, 224), torch.uint8)
    assert batch["pixels"].is_contiguous(memory_format=torch.channels_last)
    assert batch["truncated"].tolist() == [False, False]
    assert [processor.size(item) for item in items] == [1, 1]


def test_every_way_to_give_an_image_gives_the_same_pixels(tmp_path: Path) -> None:
    processor, image = ImageProcessor(DATA), photo(100, 80)
    path, data = tmp_path / "a.png", encoded(image, "PNG")
    path.write_bytes(data)
    array = np.asarray(image)
    files = [str(path), path, data, bytearray(data), {"bytes": data, "path": None}, {"path": str(path)}]
    floats = [array / 255, array.astype(np.float32) / 255]
    integers = [array, np.asfortranarray(array), array.astype(np.int64), array.astype(np.uint16) * 257]
    values = [image, *files, *floats, *integers]
    items = processor.prepare(values)
    assert all(np.array_equal(item, items[0]) for item in items)


def grey_levels() -> np.ndarray[Any, np.dtype[np.uint8]]:
    return np.arange(64, dtype=np.uint8).reshape(8, 8) * 4


def transparent() -> Image.Image:
    colour = np.full((8, 8, 4), (200, 100, 0, 255), np.uint8)
    colour[:4, :, 3] = 0
    colour[4, :, 3] = 128
    return Image.fromarray(colour)


GREY = np.repeat(grey_levels()[..., None], 3, axis=2)
ON_WHITE = np.full((8, 8, 3), 255, np.uint8)
ON_WHITE[4:] = (200, 100, 0)
ON_WHITE[4] = (227, 177, 127)
HALVES = np.zeros((8, 8, 3), np.uint8)
HALVES[:, 4:] = 255


def palette_with_hole() -> bytes:
    image = Image.new("P", (8, 8), 1)
    image.putpalette([9, 9, 9, 200, 100, 0])
    image.paste(0, (0, 0, 8, 4))
    return encoded(image, "PNG", transparency=0)


def rgb_with_key_colour() -> bytes:
    image = Image.new("RGB", (8, 8), (200, 100, 0))
    image.paste((1, 2, 3), (0, 0, 8, 4))
    return encoded(image, "PNG", transparency=(1, 2, 3))


def grey_with_alpha() -> bytes:
    image = Image.merge("LA", [Image.fromarray(grey_levels()), Image.new("L", (8, 8), 255)])
    return encoded(image, "PNG")


RED = np.full((8, 8, 3), (255, 0, 0), np.uint8)
HOLED = np.full((8, 8, 3), 255, np.uint8)
HOLED[4:] = (200, 100, 0)

MODES = {
    "grey": (encoded(Image.fromarray(grey_levels()), "PNG"), GREY),
    "16-bit grey": (encoded(Image.fromarray(grey_levels().astype(np.uint16) * 257), "PNG"), GREY),
    "16-bit grey TIFF": (encoded(Image.fromarray(grey_levels().astype(np.uint16) * 257), "TIFF"), GREY),
    "16-bit in 32": (Image.fromarray(grey_levels().astype(np.int32) * 257), GREY),
    "float": (Image.fromarray(grey_levels().astype(np.float32) / 255), GREY),
    "1-bit": (encoded(Image.fromarray(HALVES[..., 0]).convert("1"), "PNG"), HALVES),
    "bool array": (HALVES[..., 0] > 0, HALVES),
    "one channel": (grey_levels()[..., None], GREY),
    "palette": (encoded(Image.fromarray(HALVES).convert("P"), "GIF"), HALVES),
    "palette with a hole": (palette_with_hole(), HOLED),
    "key colour": (rgb_with_key_colour(), HOLED),
    "RGBA": (encoded(transparent(), "PNG"), ON_WHITE),
    "RGBA array": (np.asarray(transparent()), ON_WHITE),
    "grey with alpha": (grey_with_alpha(), GREY),
    "invisible": (Image.new("LA", (8, 8), (0, 0)), np.full((8, 8, 3), 255, np.uint8)),
    "CMYK": (encoded(Image.new("CMYK", (8, 8), (0, 255, 255, 0)), "TIFF"), RED),
}


@pytest.mark.parametrize(("value", "wanted"), MODES.values(), ids=MODES)
def test_every_mode_becomes_the_right_rgb(value: Any, wanted: Any) -> None:
    assert np.array_equal(pixels(ImageProcessor(WHOLE), value), wanted)


def test_cmyk_jpeg_keeps_its_colours() -> None:
    image = photo(64, 64).resize((8, 8))
    found = pixels(ImageProcessor(WHOLE), encoded(image.convert("CMYK"), "JPEG", quality=100, subsampling=0))
    assert np.abs(found.astype(int) - np.asarray(image).astype(int)).max() <= 6


LOSSLESS: dict[str, dict[str, Any]] = {"JPEG": {"quality": 100, "subsampling": 0}, "WEBP": {"lossless": True}}


@pytest.mark.parametrize("format_", ["JPEG", "PNG", "WEBP", "TIFF"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_rotation_is_undone(orientation: int, format_: str) -> None:
    # White top left, grey top right: no two of the eight orientations look alike.
    upright = Image.new("RGB", (8, 8))
    upright.paste((255, 255, 255), (0, 0, 4, 4))
    upright.paste((128, 128, 128), (4, 0, 8, 4))
    undo = {2: 0, 3: 3, 4: 1, 5: 5, 6: 2, 7: 6, 8: 4}  # the inverse of what a viewer must do
    stored = upright.transpose(Image.Transpose(undo[orientation])) if orientation > 1 else upright
    exif = Image.Exif()
    exif[0x0112] = orientation
    lossless = LOSSLESS.get(format_, {})
    found = pixels(ImageProcessor(WHOLE), encoded(stored, format_, exif=exif, **lossless))
    assert np.abs(found.astype(int) - np.asarray(upright).astype(int)).max() <= 3


BAD_EXIF = {
    "no TIFF": b"garbage",
    "no directory": b"II*\x00\xff\xff\xff\xff",
    "directory cut off": b"II*\x00\x08\x00\x00\x00\x01\x00\x12\x01\x02\x00",
    "orientation 99": b"II*\x00\x08\x00\x00\x00\x01\x00\x12\x01\x03\x00\x01\x00\x00\x00\x63\x00" + bytes(6),
}


@pytest.mark.parametrize("exif", BAD_EXIF.values(), ids=BAD_EXIF)
@pytest.mark.filterwarnings("ignore:Corrupt EXIF data")
def test_damaged_exif_does_not_spoil_the_pixels(exif: bytes) -> None:
    image = photo(8, 8)
    plain, damaged = (encoded(image, "JPEG", **options) for options in ({}, {"exif": b"Exif\x00\x00" + exif}))
    assert plain != damaged
    processor = ImageProcessor(WHOLE)
    assert np.array_equal(pixels(processor, plain), pixels(processor, damaged))


def jpeg() -> bytes:
    return encoded(Image.fromarray(np.random.default_rng(0).integers(0, 255, (64, 64, 3), np.uint8)), "JPEG")


def huge_png(width: int, height: int) -> bytes:
    """A well-formed header and a little data."""

    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    data = zlib.compress(bytes(1_000_000))
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", data) + chunk(b"IEND", b"")


BAD = {
    "truncated JPEG": (jpeg()[:-500], r"cannot be read as an image \(OSError"),
    "truncated PNG": (encoded(Image.new("RGB", (64, 64)), "PNG")[:-30], "cannot be read as an image"),
    "text": (b"hello", "cannot be read as an image"),
    "nothing": (b"", "cannot be read as an image"),
    "None": (None, "this NoneType is not an image: give a path"),
    "number": (3, "this int is not an image: give a path"),
    "empty mapping": ({"path": None, "bytes": None}, "is not an image"),
    "no such file": ("/no/such/image.png", "'/no/such/image.png' is not there"),
    "600 megapixels": (huge_png(30_000, 20_000), "cannot be read as an image|600.0 megapixels"),
    "100 megapixels": (
        huge_png(10_000, 10_000),
        r"10000 x 10000 pixels \(100.0 meg.* max_megapixels=64",
    ),
    "needle": (Image.new("L", (1, 100_000)), "1 x 100000 pixels, too narrow"),
    "channels first": (np.zeros((3, 8, 8), np.uint8), r"shape \(3, 8, 8\): give \(H, W\)"),
    "no pixels": (np.zeros((0, 8, 3), np.uint8), r"shape \(0, 8, 3\)"),
    "float in 0..255": (np.full((8, 8), 200.0), "float64: give integers in 0..255 or floats in 0..1"),
    "NaN": (np.full((8, 8), np.nan), "floats in 0..1"),
    "negative": (np.full((8, 8), -1), "int64: give integers in 0..255"),
    "32-bit": (Image.fromarray(np.full((8, 8), 70_000, np.int32)), "32-bit pixels"),
}


@pytest.mark.parametrize(("value", "message"), BAD.values(), ids=BAD)
@pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning")
def test_what_is_no_image_is_refused_by_its_row(value: Any, message: str) -> None:
    good = photo(20, 20)
    with pytest.raises(DataError, match=message) as caught:
        ImageProcessor(DATA).prepare([good, good, value, good])
    assert caught.value.row == 2


def test_needle_is_refused_for_an_oblong_model_too() -> None:
    with pytest.raises(DataError, match="too narrow"):
        ImageProcessor({**DATA, "input_size": [3, 160, 224]}).prepare([Image.new("L", (1, 100_000))])


def test_truncated_file_is_named(tmp_path: Path) -> None:
    (tmp_path / "cut.jpg").write_bytes(jpeg()[:-500])
    with pytest.raises(DataError, match=r"row 1: '.*cut\.jpg' cannot be read as an image"):
        ImageProcessor(DATA).prepare([str(tmp_path / "cut.jpg")])


def test_limit_is_an_option() -> None:
    with pytest.raises(DataError, match=r"0\.2 megapixels\), more than max_megapixels=0\.1 "):
        ImageProcessor(DATA, max_megapixels=0.1).prepare([photo(500, 400)])
    assert ImageProcessor(DATA, max_megapixels=0.2).prepare([photo(500, 400)])


def test_huge_image_is_refused_in_little_memory(tmp_path: Path) -> None:
    (tmp_path / "huge.png").write_bytes(huge_png(30_000, 20_000))
    code = f"""
import resource, warnings
warnings.simplefilter("ignore")
from matrixhub import DataError
from matrixhub_vision.processor import ImageProcessor
processor = ImageProcessor({DATA!r})
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
try:
    processor.prepare([{str(tmp_path / "huge.png")!r}])
except DataError:
    print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
"""
    grown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert int(grown) < 50_000  # kilobytes


def test_threads_can_share_a_processor() -> None:
    processor = ImageProcessor(DATA)
    values = [encoded(photo(90 + i, 120 - i), "JPEG") for i in range(8)]
    wanted = processor.prepare(values)
    with ThreadPoolExecutor(4) as pool:
        for found in pool.map(processor.prepare, [values] * 20):
            assert all(np.array_equal(a, b) for a, b in zip(found, wanted, strict=True))


def test_a_callers_image_is_left_as_it_was() -> None:
    image = photo(30, 20).convert("P")
    image.info["transparency"] = 0
    before = image.tobytes()
    ImageProcessor(DATA).prepare([image])
    assert (image.mode, image.size, image.tobytes()) == ("P", (30, 20), before)


def test_timms_data_configs_are_all_understood() -> None:
    configs = {
        (c.input_size, c.interpolation, c.crop_pct, c.crop_mode)
        for name in timm.list_models(pretrained=True)
        if (c := timm.get_pretrained_cfg(name)).input_size[0] == 3
    }
    assert len(configs) > 50
    names = ("input_size", "interpolation", "crop_pct", "crop_mode")
    for config in configs:
        data = {**DATA, **dict(zip(names, config, strict=True))}
        assert ImageProcessor(data).max_pixels == 64_000_000
