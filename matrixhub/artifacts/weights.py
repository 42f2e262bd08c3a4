"""Tensors on disk: safetensors only, finite only, each shared tensor stored once."""

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from matrixhub.artifacts.content import parse_json
from matrixhub.artifacts.faults import telling
from matrixhub.errors import ArtifactError

MAX_HEADER_BYTES = 8 << 20
MAX_HEADER_NODES = 400_000

# The only key of the metadata: with several, the library writes them in an order of chance, and the same
# weights would not give the same bytes.
_ALIASES = "matrixhub_aliases"


def save_weights(path: Path, tensors: Mapping[str, Tensor]) -> None:
    """Write tensors of any device and layout. The same tensors give the same bytes.

    Tied tensors (one memory under several names) are stored once and are tied again when loaded.

    Raises:
        ArtifactError: a tensor is not finite, or the file cannot be written.
    """
    with telling(f"Could not write the weights '{path}'"):
        _check_finite(tensors)
        kept, aliases = _untie(tensors)
        metadata = {_ALIASES: json.dumps(aliases, sort_keys=True)} if aliases else None
        save_file(kept, path, metadata=metadata)
        # The library makes a file for its owner only; a server may run as somebody else.
        path.chmod(path.parent.stat().st_mode & 0o666)


def load_weights(path: Path) -> dict[str, Tensor]:
    """Read tensors onto the CPU, mapped from the file: memory that the system can take back.

    Raises:
        ArtifactError: the file is malformed, cut short, has a duplicate name, or a tensor is not finite.
    """
    with telling(f"Cannot use the weights '{path}'"):
        header = _read_header(path)
        aliases = _aliases(header)
        tensors: dict[str, Tensor] = load_file(path)
        _check_finite(tensors)
        return tensors | {alias: tensors[name] for alias, name in aliases.items()}


def load_state(module: nn.Module, tensors: Mapping[str, Tensor]) -> None:
    """Copy tensors into a module that has exactly these names, shapes and dtypes.

    Raises:
        ArtifactError: names those that are missing, unexpected, or of another shape or dtype; the module
            is then unchanged.
    """
    wanted = module.state_dict()
    problems = [
        *_listed("missing", [name for name in wanted if name not in tensors]),
        *_listed("unexpected", [name for name in tensors if name not in wanted]),
        *_listed("different", list(_mismatched(wanted, tensors))),
    ]
    if problems:
        raise ArtifactError(f"The weights do not fit {type(module).__name__}: {'; '.join(problems)}")
    module.load_state_dict(dict(tensors), strict=True)


def _mismatched(wanted: Mapping[str, Tensor], tensors: Mapping[str, Tensor]) -> Iterator[str]:
    for name in wanted.keys() & tensors.keys():
        stored, own = tensors[name], wanted[name]
        if stored.shape != own.shape or stored.dtype != own.dtype:
            yield f"{name} (stored {_shown(stored)}, needed {_shown(own)})"


def _shown(tensor: Tensor) -> str:
    return f"{str(tensor.dtype).removeprefix('torch.')} {tuple(tensor.shape)}"


def _listed(what: str, names: Sequence[str]) -> list[str]:
    more = f" and {len(names) - 5} more" if len(names) > 5 else ""
    return [f"{what}: {', '.join(sorted(names)[:5])}{more}"] if names else []


def _check_finite(tensors: Mapping[str, Tensor]) -> None:
    for name, tensor in tensors.items():
        if not _is_finite(tensor.detach()):
            raise ArtifactError(f"the tensor {name!r} holds NaN or infinity")


def _is_finite(tensor: Tensor) -> bool:
    if not (tensor.is_floating_point() or tensor.is_complex()):
        return True
    if tensor.element_size() == 1:  # the 8-bit floats can do next to nothing
        tensor = tensor.float()
    # A sum is finite only if every element is, and costs a fiftieth of looking at each; it may also
    # overflow, so that only a bad one is looked at closely.
    total = tensor.sum(
        dtype=None if tensor.is_complex() else torch.promote_types(tensor.dtype, torch.float32)
    )
    return bool(torch.isfinite(total)) or bool(torch.isfinite(tensor).all())


def _untie(tensors: Mapping[str, Tensor]) -> tuple[dict[str, Tensor], dict[str, str]]:
    """Tensors in memory of their own, and the names that share one with an earlier name."""
    kept: dict[str, Tensor] = {}
    aliases: dict[str, str] = {}
    first: dict[Any, str] = {}
    for name, tensor in sorted(tensors.items()):
        view = (tensor.device, tensor.data_ptr(), tensor.shape, tensor.stride(), tensor.dtype)
        if tensor.numel() and view in first:
            aliases[name] = first[view]
            continue
        first[view] = name
        own = tensor.detach().cpu().contiguous()
        # A slice of a larger storage: the library would refuse, or store, all of it.
        kept[name] = own if own.untyped_storage().nbytes() == own.nbytes else own.clone()
    return kept, aliases


def _read_header(path: Path) -> dict[str, Any]:
    """The header, read with a bound before the library sees the file, which lets duplicate names pass."""
    with path.open("rb") as file:
        size = int.from_bytes(file.read(8), "little")
        if size > MAX_HEADER_BYTES:
            raise ArtifactError("this is not safetensors: its header is too large")
        raw = file.read(size)
    header = parse_json(raw, "its header", max_nodes=MAX_HEADER_NODES)
    if not isinstance(header, dict):
        raise ArtifactError("this is not safetensors: its header is not a table")
    return header


def _aliases(header: Mapping[str, Any]) -> dict[str, str]:
    metadata = header.get("__metadata__", {})
    text = metadata.get(_ALIASES, "{}") if isinstance(metadata, dict) else None
    aliases = parse_json(text.encode(), _ALIASES) if isinstance(text, str) else None
    names = header.keys() - {"__metadata__"}
    if not isinstance(aliases, dict) or not all(
        alias not in names and isinstance(name, str) and name in names for alias, name in aliases.items()
    ):
        raise ArtifactError("its table of tied tensors does not fit the tensors in it")
    return aliases
