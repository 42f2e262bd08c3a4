"""timm models with weights: timm's own, or a file's."""

import inspect
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import timm
import torch
from huggingface_hub import hf_hub_download
from timm.models import load_state_dict
from torch import Tensor

from matrixhub import CheckpointError, ConfigError, checkpoint_errors, hub_offline, weight_file

_COUNTER = "num_batches_tracked"
"""Of batch normalization; old checkpoints lack it, and evaluation does not use it."""


def create_model(name: str, path: Path | None, *, pretrained: bool, match: str, seed: int, size: int) -> Any:
    """A timm model without classifier.

    Args:
        name: timm's name, with or without a tag.
        path: file, or folder with one, that holds the weights; None for timm's own.
        pretrained: whether to load weights; if not, they are random.
        match: ``name`` or ``order``.
        seed: of random weights.
        size: side of the images in pixels, for models that are built for one size.

    Raises:
        CheckpointError: weights that are not there, not reachable, or of another architecture.
    """
    known = timm.get_pretrained_cfg(name)
    options: dict[str, Any] = {"num_classes": 0} | ({"img_size": size} if known.fixed_input_size else {})
    with _seeded(seed):
        if not pretrained or path is not None:
            model = timm.create_model(name, pretrained=False, **options)
        else:
            model = _timms_own(name, known, options)
    if pretrained and path is not None:
        file = weight_file(path)
        with checkpoint_errors(str(path)):
            tensors = load_state_dict(str(file), weights_only=True)
        tensors = _by_order(model, tensors, file) if match == "order" else _by_name(model, tensors)
        _load(model, tensors, name=name, file=file)
    return model


def _timms_own(name: str, known: Any, options: Mapping[str, Any]) -> Any:
    if not known.hf_hub_id:
        raise ConfigError(f"timm has no weights for {name}: give a checkpoint, or set pretrained=false.")
    filename = known.hf_hub_filename or "model.safetensors"
    with checkpoint_errors(known.hf_hub_id):
        file = hf_hub_download(known.hf_hub_id, filename, local_files_only=hub_offline())
        source = {"file": file, "custom_load": False}
        return timm.create_model(name, pretrained=True, pretrained_cfg_overlay=source, **options)


def _by_name(model: Any, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """The tensors under timm's names, without the classifier's."""
    # Most of timm's model files know the formats their weights were first published in.
    convert = getattr(sys.modules[type(model).__module__], "checkpoint_filter_fn", None)
    if convert is not None and len(inspect.signature(convert).parameters) > 1:
        tensors = convert(tensors, model)
    classifier = model.pretrained_cfg.get("classifier") or ()
    heads = tuple(f"{head}." for head in ([classifier] if isinstance(classifier, str) else classifier))
    return {name: tensor for name, tensor in tensors.items() if not name.startswith(heads)}


def _by_order(model: Any, tensors: dict[str, Tensor], file: Path) -> dict[str, Tensor]:
    """The file's tensors under the model's names, position by position; shapes are checked later."""
    if file.suffix == ".safetensors":
        raise ConfigError("match=order needs a .pth file: safetensors does not keep the order of tensors.")
    wanted = [name for name in model.state_dict() if not name.endswith(_COUNTER)]
    given = [tensor for name, tensor in tensors.items() if not name.endswith(_COUNTER)]
    rest = given[len(wanted) :]
    if len(given) < len(wanted) or not (len(rest) == 0 or [tensor.ndim for tensor in rest] == [2, 1]):
        raise CheckpointError(
            f"'{file.name}' holds {len(given)} tensors; this model has {len(wanted)}, and a classifier after"
            f" them may add 2: it is of another architecture."
        )
    return dict(zip(wanted, given, strict=False))


def _load(model: Any, tensors: Mapping[str, Tensor], *, name: str, file: Path) -> None:
    wanted = {key: tensor for key, tensor in model.state_dict().items() if not key.endswith(_COUNTER)}
    given = {key: tensor for key, tensor in tensors.items() if not key.endswith(_COUNTER)}
    misfits = [
        f"{key} is {tuple(given[key].shape)} and not {tuple(wanted[key].shape)}"
        for key in wanted.keys() & given.keys()
        if given[key].shape != wanted[key].shape
    ]
    misfits += [f"{key} is missing" for key in wanted.keys() - given.keys()]
    misfits += [f"{key} is unknown" for key in given.keys() - wanted.keys()]
    if misfits:
        raise CheckpointError(
            f"'{file.name}' does not fit {name} in {len(misfits)} tensors: {'; '.join(sorted(misfits)[:3])}."
            f" Give the model it was made for; if it was saved under other names, match=order."
        )
    model.load_state_dict(given, strict=False)


@contextmanager
def _seeded(seed: int) -> Iterator[None]:
    """Random weights that are the same every time, leaving the caller's random numbers alone."""
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        yield
