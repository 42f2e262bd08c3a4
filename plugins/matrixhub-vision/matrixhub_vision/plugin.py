"""What this plugin offers; imports nothing heavy."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from matrixhub import MISSING, Register, hookimpl

matrixhub_api = 1


@dataclass
class TimmConfig:
    """Any image model of timm, without its classifier."""

    model: str = MISSING
    """timm's name of the architecture, with or without the tag of its weights (resnet18.a1_in1k)."""
    checkpoint: str | None = None
    """Folder, file or package:<import name>/<path inside> that holds weights; None is timm's own."""
    sha256: str | None = None
    """Expected digest of the weight file of a checkpoint."""
    match: str = "name"
    """How a checkpoint's tensors find their place: name, or order (same architecture, other names)."""
    pretrained: bool = True
    """Load the weights; False builds the architecture with seeded random ones."""
    seed: int = 0
    """Of the random weights."""
    pooling: str = "default"
    """How tokens become one vector: default (the model's own way), avg, max or cls."""
    size: int | None = None
    """Side of the square image the model sees; None, here and below, is the model's own value."""
    crop_pct: float | None = None
    """Share of the resized image's side that the centre crop keeps."""
    interpolation: str | None = None
    """Of the resize: bicubic, bilinear, lanczos or nearest."""
    mean: list[float] | None = None
    """Subtracted from red, green and blue in 0..1."""
    std: list[float] | None = None
    """Divides red, green and blue after that."""
    max_megapixels: float = 64.0
    """A larger image is refused before it is decoded."""
    dtype: str = "float32"
    """Precision of the weights: float32, bfloat16 or float16. Features are always float32."""
    channels_last: bool = True
    """Keep colour as the innermost dimension in memory: faster convolutions, same values."""
    budget: int = 4
    """Images in a batch when only encoding."""


@hookimpl
def matrixhub_components(register: Register) -> None:
    """One encoder, every architecture of timm."""
    register(
        "encoder",
        "timm",
        "matrixhub_vision.encoder:build",
        config=TimmConfig,
        consumes="image",
        produces=("pooled", "tokens", "layers"),
    )


@hookimpl
def matrixhub_config_dirs() -> Sequence[Path]:
    """Presets of well-known models."""
    return [Path(__file__).parent / "conf"]
