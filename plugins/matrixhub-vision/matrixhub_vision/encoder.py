"""Any model of timm as a MatrixHub encoder.

Shape suffixes: B rows, C channels, H height, W width, T tokens, D feature width.
"""

import copy
import difflib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import timm
import torch
from timm.data import resolve_data_config
from torch import Tensor, nn

from matrixhub import (
    MISSING,
    Batch,
    CheckpointError,
    ConfigError,
    Features,
    checkpoint_errors,
    resolve_checkpoint,
)
from matrixhub_vision.baseline import raw_pixels
from matrixhub_vision.layers import FirstLayers, LastLayers, num_layers, shape_after, split
from matrixhub_vision.plugin import TimmConfig
from matrixhub_vision.processor import ImageProcessor, decode
from matrixhub_vision.weights import create_model

MATCHES = ("name", "order")
POOLINGS = ("default", "avg", "max", "cls")
DTYPES = ("float32", "bfloat16", "float16")
INTERPOLATIONS = ("bicubic", "bilinear", "lanczos", "nearest")
DATA_CONFIG = "data_config.json"


class ImageEncoder(nn.Module):
    """Pixels to features.

    Args:
        model: a timm model without classifier.
        processor: makes its batches.
        pooling: ``default``, the model's own way; ``avg`` or ``max`` over tokens; ``cls``, the first token.
        channels_last: memory format of the convolutions.
        budget: images in a batch when only encoding.
    """

    modality = "image"
    baseline_name = "raw pixels + linear"

    def __init__(
        self,
        model: Any,
        processor: ImageProcessor,
        *,
        pooling: str = "default",
        channels_last: bool = True,
        budget: int = 4,
    ) -> None:
        super().__init__()
        self.model = model.to(memory_format=torch.channels_last if channels_last else torch.contiguous_format)
        self._stem = next((name for name, weight in model.named_parameters() if weight.ndim == 4), None)
        self.processor, self.pooling, self.budget = processor, pooling, budget
        self.dim: int = model.head_hidden_size if pooling == "default" else model.num_features
        self.num_layers = num_layers(model)
        self._shapes: dict[int, torch.Size] = {}
        self._num_prefix: int = getattr(model, "num_prefix_tokens", 0)
        mean_C, std_C = (torch.tensor(processor.data_config[name]) for name in ("mean", "std"))
        self._mean_C11 = nn.Buffer(mean_C[:, None, None], persistent=False)
        self._std_C11 = nn.Buffer(std_C[:, None, None], persistent=False)

    def forward(self, batch: Batch) -> Features:
        """Features, float32; tokens are image patches, or the places of the last feature map, row by row."""
        return self.features(self.normalize(batch["pixels"]))

    def features(self, given: Tensor) -> Features:
        """Features of what the model takes: normalized images, or what the first layers made of them."""
        maps = self.model.forward_features(given)
        tokens_BTD = self._tokens(maps).float()
        mask_BT = torch.ones(tokens_BTD.shape[:2], dtype=torch.bool, device=tokens_BTD.device)
        return Features(
            self._pool(maps, tokens_BTD), tokens_BTD[:, self._num_prefix :], mask_BT[:, self._num_prefix :]
        )

    def normalize(self, pixels_BCHW: Tensor) -> Tensor:
        """Pixels 0..255 as the model takes them."""
        # Step by step as timm's transform does it, to the last bit.
        normal_BCHW = (pixels_BCHW / 255).sub_(self._mean_C11).div_(self._std_C11)
        weight = next(self.model.parameters())
        return normal_BCHW.to(weight.dtype).contiguous(memory_format=self._format())

    def split(self, num_trainable: int) -> tuple[FirstLayers, LastLayers]:
        """Below and from the last ``num_trainable`` blocks.

        Raises:
            ConfigError: models of this family cannot be cut.
        """
        first, last = split(self.model, num_trainable)
        below = self._with(first)
        if num_trainable not in self._shapes:
            self._shapes[num_trainable] = shape_after(below, self.processor.data_config["input_size"])
        prefix = FirstLayers(below, self._shapes[num_trainable])
        return prefix, LastLayers(self._with(last), prefix.grid)

    def _with(self, model: nn.Module) -> "ImageEncoder":
        twin = copy.copy(self)
        twin._modules = {"model": model}
        return twin

    def save_assets(self, folder: Path) -> None:
        """Write how images are resized, cropped and normalized."""
        text = json.dumps(self.processor.data_config, indent=2, sort_keys=True)
        (folder / DATA_CONFIG).write_text(text + "\n", "utf-8")

    def baseline_features(self, train: Sequence[Any], test: Sequence[Any]) -> tuple[Any, Any]:
        """Raw pixels of images of 32 x 32 or smaller, two dense matrices."""
        return raw_pixels(
            train, test, decode=lambda value: decode(value, max_pixels=self.processor.max_pixels)
        )

    def _format(self) -> torch.memory_format:
        """As the first convolution has it: who runs the encoder may have turned its weights."""
        if self._stem is None or self.model.get_parameter(self._stem).is_contiguous():
            return torch.contiguous_format
        return torch.channels_last

    def _tokens(self, maps: Tensor) -> Tensor:
        if not isinstance(maps, Tensor):
            raise ConfigError(
                f"{type(self.model).__name__} of timm has no one grid of tokens: choose another model."
            )
        if maps.ndim == 3:
            return maps
        channels_first = getattr(self.model, "output_fmt", "NCHW") == "NCHW"
        maps_BHWD = maps.permute(0, 2, 3, 1) if channels_first else maps
        return maps_BHWD.flatten(1, 2)

    def _pool(self, maps: Tensor, tokens_BTD: Tensor) -> Tensor:
        match self.pooling:
            case "avg":
                return tokens_BTD[:, self._num_prefix :].mean(dim=1)
            case "max":
                return tokens_BTD[:, self._num_prefix :].amax(dim=1)
            case "cls":
                return tokens_BTD[:, 0]
            case _:
                pooled_BD: Tensor = self.model.forward_head(maps, pre_logits=True)
                return pooled_BD.float()


def build(**options: Any) -> ImageEncoder:
    """Build ``vision.timm``; ``options`` are the fields of ``TimmConfig``.

    Raises:
        ConfigError: an option that cannot be right.
        CheckpointError: the weights are not there, not reachable, or of another architecture.
    """
    given = TimmConfig(**options)
    _check(given)
    path = _resolve(given)
    data_config = _data_config(given, path)
    model = create_model(
        given.model,
        path,
        pretrained=given.pretrained,
        match=given.match,
        seed=given.seed,
        size=data_config["input_size"][-1],
    )
    if given.pooling == "cls" and not getattr(model, "num_prefix_tokens", 0):
        raise ConfigError(f"pooling=cls, but {given.model} has no class token. Use default, avg or max.")
    return ImageEncoder(
        model.to(getattr(torch, given.dtype)),
        ImageProcessor(data_config, max_megapixels=given.max_megapixels),
        pooling=given.pooling,
        channels_last=given.channels_last,
        budget=given.budget,
    ).eval()


def _check(given: TimmConfig) -> None:
    if given.model == MISSING:
        raise ConfigError("vision.timm needs a model: timm's name of one, such as model=resnet18.")
    _check_model(given.model)
    choices = {"match": MATCHES, "pooling": POOLINGS, "dtype": DTYPES, "interpolation": INTERPOLATIONS}
    for name, allowed in choices.items():
        if (value := getattr(given, name)) not in allowed and (name, value) != ("interpolation", None):
            raise ConfigError(f"{name}={value} is unknown to vision.timm. Allowed: {', '.join(allowed)}.")
    if given.crop_pct is not None and not 0 < given.crop_pct <= 1:
        raise ConfigError(f"crop_pct={given.crop_pct}: it is a share of the side, above 0 and at most 1.")
    for name in ("size", "budget", "max_megapixels"):
        if (value := getattr(given, name)) is not None and value <= 0:
            raise ConfigError(f"{name}={value}: it must be above 0.")
    for name in ("mean", "std"):
        if (values := getattr(given, name)) is not None and len(values) != 3:
            raise ConfigError(f"{name} needs 3 numbers, for red, green and blue; it has {len(values)}.")


def _check_model(name: str) -> None:
    """A wrong tag is answered with the tags there are, a wrong name with the nearest names."""
    architecture, _, tag = name.partition(".")
    if not timm.is_model(architecture):
        near = difflib.get_close_matches(architecture, timm.list_models(), n=3)
        hint = f" Did you mean {' or '.join(near)}?" if near else " timm.list_models() names them all."
        raise ConfigError(f"timm has no model '{architecture}'.{hint}")
    known = timm.list_models(f"{architecture}.*", pretrained=True)
    if tag and name not in known:
        raise ConfigError(
            f"timm has no weights '{tag}' for {architecture}. Known: {', '.join(known) or 'none'}."
        )


def _resolve(given: TimmConfig) -> Path | None:
    if given.checkpoint is None:
        if given.sha256:
            raise ConfigError("sha256 is checked on a checkpoint: give checkpoint=, or drop sha256.")
        return None
    path = resolve_checkpoint(given.checkpoint, sha256=given.sha256)
    if isinstance(path, str):
        raise ConfigError(
            f"checkpoint={path} is no folder, file or package:NAME/PATH. For weights on the hub leave it out"
            f" and name them by timm's tag, such as model=resnet18.a1_in1k."
        )
    return path


def _data_config(given: TimmConfig, path: Path | None) -> dict[str, Any]:
    """How images are prepared: the options, else the checkpoint folder's word, else timm's for this model."""
    known = timm.get_pretrained_cfg(given.model).to_dict() | _folder_data_config(path)
    wanted = {
        "img_size": given.size,
        "crop_pct": given.crop_pct,
        "interpolation": given.interpolation,
        "mean": given.mean,
        "std": given.std,
    }
    resolved = resolve_data_config(wanted, pretrained_cfg=known)
    return {name: list(value) if isinstance(value, tuple) else value for name, value in resolved.items()}


def _folder_data_config(path: Path | None) -> dict[str, Any]:
    """What ``save_assets`` wrote, or a repository of timm's on the hub says; empty where there is nothing."""
    for name, key in ((DATA_CONFIG, None), ("config.json", "pretrained_cfg")):
        if path is not None and (path / name).is_file():
            with checkpoint_errors(str(path)):
                found = json.loads((path / name).read_text("utf-8"))
                if not isinstance(found, dict):
                    raise CheckpointError(f"'{path / name}' is not the data config of an image model.")
            return found if key is None else found.get(key, {})
    return {}
