"""Where a pre-training stands, on disk: a folder is complete or not there under its name."""

import json
import os
import shutil
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import nn

from matrixhub import CheckpointError

_STEP = "step-"
_FILES = ("model.safetensors", "optimizer.safetensors", "state.json")


def save(folder: Path, model: nn.Module, optimizer: Any, state: dict[str, Any]) -> Path:
    """Write a checkpoint of ``state["step"]``; older ones go when it is complete."""
    folder.mkdir(parents=True, exist_ok=True)
    staging = folder / ".saving"
    shutil.rmtree(staging, ignore_errors=True)
    staging.mkdir()
    parameters = dict(model.named_parameters())
    save_file({name: p.detach().cpu().contiguous() for name, p in parameters.items()}, staging / _FILES[0])
    moments = {
        f"{name}:{key}": torch.as_tensor(value).cpu().contiguous()
        for name, parameter in parameters.items()
        for key, value in optimizer.state.get(parameter, {}).items()
    }
    save_file(moments, staging / _FILES[1])
    (staging / _FILES[2]).write_text(json.dumps(state), "utf-8")
    final = folder / f"{_STEP}{state['step']:08d}"
    shutil.rmtree(final, ignore_errors=True)
    publish(staging, final)
    for other in folder.glob(f"{_STEP}*"):
        if other != final:
            shutil.rmtree(other)
    return final


def publish(staging: Path, final: Path) -> None:
    """Give a complete folder its name, after its files are on disk."""
    for path in [*staging.rglob("*"), staging]:
        _sync(path)
    staging.rename(final)
    _sync(final.parent)


def newest(folder: Path) -> Path | None:
    """The checkpoint of the last step, if any."""
    return max(folder.glob(f"{_STEP}*"), default=None)


def step_of(checkpoint: Path) -> int:
    """The last step that it holds."""
    return int(checkpoint.name.removeprefix(_STEP))


def load(checkpoint: Path, model: nn.Module, optimizer: Any) -> dict[str, Any]:
    """Put weights and the optimizer's moments back; returns the state.

    Raises:
        CheckpointError: a file is missing or damaged, or is of another model.
    """
    try:
        weights = load_file(checkpoint / _FILES[0])
        moments = load_file(checkpoint / _FILES[1])
        state: dict[str, Any] = json.loads((checkpoint / _FILES[2]).read_text("utf-8"))
    except Exception as error:
        why = str(error).partition("\n")[0]
        raise CheckpointError(
            f"{checkpoint} cannot be read ({why}): delete {checkpoint.parent} to begin anew."
        ) from error
    parameters = dict(model.named_parameters())
    if set(weights) != set(parameters) or any(weights[n].shape != p.shape for n, p in parameters.items()):
        raise CheckpointError(f"{checkpoint} is of another model: delete {checkpoint.parent} to begin anew.")
    with torch.no_grad():
        for name, parameter in parameters.items():
            parameter.copy_(weights[name])
    for key, value in moments.items():
        name, _, kind = key.rpartition(":")
        like = parameters[name]
        # The number of steps stays where the optimizer keeps it.
        moved = value if value.ndim == 0 and like.device.type == "cpu" else value.to(like.device)
        optimizer.state[like][kind] = moved
    return state


def _sync(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
