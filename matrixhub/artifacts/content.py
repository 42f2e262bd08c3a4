"""What an artifact may hold: plain data under plain names, in strict JSON that names no code."""

import json
import math
import os
import re
import reprlib
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NoReturn

from matrixhub.errors import ArtifactError, UnsafeArtifactError

DATA_SUFFIXES = (".safetensors", ".json", ".txt", ".model", ".spm", ".md")
"""The kinds of file an artifact may hold; ``.model`` and ``.spm`` are SentencePiece's."""

MAX_FILES = 10_000
MAX_JSON_BYTES = 64 << 20
MAX_JSON_NODES = 4_000_000

_CODE_SUFFIXES = tuple(
    f".{kind}"
    for kind in (
        *("py", "pyc", "pyd", "pyi", "pyw", "pyz", "so", "dll", "dylib", "sh", "bat", "exe", "js", "jar"),
        *("bin", "pt", "pth", "ptl", "ckpt", "pkl", "pickle", "dill", "cloudpickle", "joblib", "npy", "npz"),
        *("zip", "tar", "gz", "tgz", "whl", "egg"),
    )
)
# A pickle of protocol 2 or later, and the zip that torch.save wraps one in.
_CODE_MAGIC = re.compile(rb"\x80[\x02-\x05]|PK\x03\x04")

# Keys by which some library would import what the value names. A whole number is let through: there the
# key is a word of a vocabulary, and the number its position.
_CODE_KEYS = frozenset({"_target_", "auto_map", "class_path", "custom_pipelines", "py/object", "py/reduce"})
_KERNEL_KEYS = frozenset(
    f"{prefix}{kind}_implementation{suffix}"
    for prefix in ("", "_")
    for kind in ("attn", "experts")
    for suffix in ("", "_internal")
)
_TARGET_KEYS = frozenset(
    {"callable", "class", "class_name", "cls", "entry_point", "factory", "func", "function", "target", "type"}
)
# Told apart from the column names (`review.label`) that stand under `target` in every manifest.
_CLASS_PATH = re.compile(
    r"(?:[A-Za-z_]\w*\.)+[A-Za-z_]\w*:[A-Za-z_]\w*"  # package.module:factory
    r"|(?:[a-z_]\w*\.){2,}[A-Z]\w*"  # package.module.Class
    r"|(?:builtins|ctypes|importlib|pickle|posix|runpy|shutil|subprocess)[.:]\w.*"
    r"|os[.:](?:system|popen|exec|spawn)\w*"
)
_WATCHED_KEYS = _CODE_KEYS | _KERNEL_KEYS | _TARGET_KEYS | {"trust_remote_code"}


def check_name(name: str) -> None:
    """Refuse a file name that leaves its folder, hides something, or is of a kind that may hold code.

    Args:
        name: path inside the artifact, with forward slashes.

    Raises:
        UnsafeArtifactError: an absolute path, ``..``, a backslash, an unprintable character, code, pickle.
        ArtifactError: any other kind of file that an artifact does not have.
    """
    if any(part in ("", ".", "..") for part in name.split("/")):
        raise UnsafeArtifactError(f"the file name {name!r} is not a plain path inside the artifact")
    if not name.isprintable() or any(character in name for character in "\\:"):
        raise UnsafeArtifactError(f"the file name {name!r} holds a character that is not allowed")
    suffix = Path(name).suffix
    if suffix.lower() in _CODE_SUFFIXES:
        raise UnsafeArtifactError(
            f"{name!r} may hold code: an artifact has no '{suffix.lower()}' files, weights are .safetensors"
        )
    if suffix not in DATA_SUFFIXES:
        raise ArtifactError(
            f"{name!r} does not belong in an artifact; allowed are {', '.join(DATA_SUFFIXES)}"
        )


def check_magic(head: bytes, name: str) -> None:
    """Refuse a pickle or zip under a harmless name, by the first bytes of the file."""
    # The first bytes of safetensors are a length, which may look like anything.
    if not name.endswith(".safetensors") and _CODE_MAGIC.match(head):
        raise UnsafeArtifactError(f"{name!r} is a pickle or a zip, whatever its name says")


def list_files(folder: Path) -> dict[str, os.stat_result]:
    """Every file under a folder by its name inside it, sorted; nothing is opened.

    Raises:
        UnsafeArtifactError: a symlink, a device, or a name that ``check_name`` refuses.
        ArtifactError: a file that does not belong in an artifact, or too many of them.
    """
    found: dict[str, os.stat_result] = {}
    folders = [folder]
    while folders:
        for entry in os.scandir(folders.pop()):
            name = Path(entry.path).relative_to(folder).as_posix()
            if entry.is_dir(follow_symlinks=False):
                folders.append(Path(entry.path))
            elif entry.is_file(follow_symlinks=False):
                check_name(name)
                found[name] = entry.stat(follow_symlinks=False)
            else:
                raise UnsafeArtifactError(f"{name!r} is a symlink or a device, not a file of its own")
            if len(found) + len(folders) > MAX_FILES:
                raise ArtifactError(f"more than {MAX_FILES} files")
    return dict(sorted(found.items()))


def parse_json(
    raw: bytes,
    name: str,
    *,
    max_bytes: int = MAX_JSON_BYTES,
    max_nodes: int = MAX_JSON_NODES,
) -> Any:
    """Read strict JSON as plain values: nothing is resolved, imported or built.

    Args:
        raw: UTF-8; ``${...}`` in it stays text.
        name: of the file, for the message.
        max_nodes: bounds the memory of small texts that make many objects.

    Raises:
        UnsafeArtifactError: a key or value by which some library would import code.
        ArtifactError: not JSON, too large, a duplicate key, or a number that is not finite.
    """

    def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        found = dict(pairs)
        if len(found) < len(pairs):
            twice = Counter(key for key, _ in pairs).most_common(1)[0][0]
            raise ArtifactError(f"{name!r} has the key {twice!r} twice")
        for key in found.keys() & _WATCHED_KEYS:
            _check_pair(key, found[key], name)
        return found

    if len(raw) > max_bytes or sum(map(raw.count, (b",", b"[", b"{"))) > max_nodes:
        raise ArtifactError(f"{name!r} is too large to be read safely")
    try:
        return json.loads(
            raw.decode("utf-8"), object_pairs_hook=unique, parse_float=_finite, parse_constant=_not_finite
        )
    except RecursionError:
        raise ArtifactError(f"{name!r} is nested too deeply") from None
    except ValueError as error:
        raise ArtifactError(f"{name!r} is not strict JSON: {error}") from None


def _check_pair(key: str, value: Any, name: str) -> None:
    values = value if isinstance(value, list) else [value]
    if (
        (key in _CODE_KEYS and type(value) is not int)
        or (key == "trust_remote_code" and value not in (False, None))
        or (key in _KERNEL_KEYS and _names_kernel(values))
        or (key in _TARGET_KEYS and any(isinstance(v, str) and _CLASS_PATH.fullmatch(v) for v in values))
    ):
        raise UnsafeArtifactError(
            f"{name!r} holds {key!r}: {reprlib.repr(value)}, which asks for code to be imported; "
            "an artifact names components by their registry names only"
        )


def _names_kernel(values: Sequence[Any]) -> bool:
    """Whether transformers would fetch and import a kernel repository for it (``owner/name``)."""
    return any(isinstance(v, dict) or (isinstance(v, str) and "/" in v) for v in values)


def _finite(text: str) -> float:
    value = float(text)
    return value if math.isfinite(value) else _not_finite(text)


def _not_finite(text: str) -> NoReturn:
    raise ValueError(f"{text} is not a finite number")
