"""Models of timm cut in two, beyond what the contract of every encoder asks."""

from typing import Any

import numpy as np
import pytest
import torch
from matrixhub_vision.encoder import build
from matrixhub_vision.layers import FAMILIES

from matrixhub import ConfigError

IMAGES = [np.random.default_rng(i).integers(0, 256, (40 + i, 50, 3), dtype=np.uint8) for i in range(3)]


def features(encoder: Any) -> Any:
    with torch.no_grad():
        return encoder(encoder.processor.collate(encoder.processor.prepare(IMAGES)))


@pytest.mark.parametrize(
    ("model", "options"),
    [
        ("resnet18", {"pooling": "max"}),
        ("vit_tiny_patch16_224", {"pooling": "cls"}),
        ("vit_tiny_patch16_224", {"pooling": "avg"}),
        ("efficientnet_lite0", {"channels_last": False}),
        ("mobilenetv3_small_050", {"pooling": "avg"}),
    ],
)
def test_cut_it_answers_as_whole(model: str, options: dict[str, Any]) -> None:
    encoder = build(model=model, pretrained=False, size=64, **options)
    for num_trainable in (1, encoder.num_layers - 1):
        prefix, suffix = encoder.split(num_trainable)
        answer, whole = suffix(features(prefix)), features(encoder)
        scale = max(1.0, whole.pooled_BD.abs().max().item())
        torch.testing.assert_close(answer.pooled_BD, whole.pooled_BD, atol=1e-6 * scale, rtol=0)


def test_cutting_leaves_running_statistics_and_mode_alone() -> None:
    encoder = build(model="resnet18", pretrained=False, size=64).train()
    before = {name: buffer.clone() for name, buffer in encoder.named_buffers()}
    encoder.split(2)
    assert encoder.training and encoder.model.layer1.training
    assert all(torch.equal(buffer, before[name]) for name, buffer in encoder.named_buffers())


def test_other_families_name_those_that_can() -> None:
    encoder = build(model="convnext_atto", pretrained=False, size=64)
    assert encoder.num_layers == 0
    with pytest.raises(ConfigError, match=", ".join(FAMILIES)):
        encoder.split(1)
