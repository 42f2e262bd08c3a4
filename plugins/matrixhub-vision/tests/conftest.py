"""The factory of ``vision.timm``, and photographs to feed it."""

import os
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from PIL import Image

from matrixhub.plugins import hub

os.environ["HF_HUB_OFFLINE"] = "1"


@pytest.fixture(scope="session")
def build() -> Callable[..., Any]:
    """The factory of ``vision.timm``, as the registry gives it."""
    return hub().component("encoder", "vision.timm").factory()


@pytest.fixture(scope="session")
def photo() -> Callable[[int, int], Image.Image]:
    """A colourful picture of any size, with fine detail and flat parts."""

    def make(width: int, height: int) -> Image.Image:
        y, x = np.mgrid[:height, :width]
        noise = np.random.default_rng(width * 7919 + height).integers(0, 60, (height, width, 3))
        waves = np.stack([np.sin(x / 7) * 90 + 90, np.cos(y / 5) * 90 + 90, (x * y) % 190], axis=-1)
        return Image.fromarray((waves + noise).clip(0, 255).astype(np.uint8))

    return make
