"""The manifest: what a product is, and the sha256 of every file it is made of.

``manifest.json`` holds what the caller gave and three keys more: ``format`` (int), ``files`` (name to
``{"sha256", "size"}``) and ``sha256``, the digest of the manifest's own bytes with those 64 digits
blanked. Digests find damage and careless edits; they do not say who wrote an artifact.
"""

import hashlib
import json
import math
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from matrixhub.artifacts.content import MAX_JSON_BYTES, check_magic, check_name, list_files, parse_json
from matrixhub.artifacts.faults import telling
from matrixhub.errors import ArtifactError, UnsafeArtifactError

MANIFEST = "manifest.json"
FORMAT = 1
MAX_BYTES = 16 << 20
MAX_NODES = 400_000

_BLANK = "0" * 64
_SHA256 = re.compile(r"[0-9a-f]{64}")
_OWN_KEYS = ("format", "sha256", "files")


def read_manifest(folder: Path) -> dict[str, Any]:
    """Verify a whole artifact, then give its manifest; every file is hashed once.

    Nothing is imported, built or resolved: ``${...}`` in the manifest stays text. Keep it a plain dict.

    Raises:
        UnsafeArtifactError: it holds code, a pickle, a symlink, or a name outside of the folder.
        ArtifactError: it is incomplete, damaged, changed, or of another format; the file is named.
    """
    with telling(f"Cannot use the artifact '{folder}'"):
        folder = Path(folder)
        if not (folder / MANIFEST).is_file():
            raise ArtifactError(_without_manifest(folder))
        found = {name: stat.st_size for name, stat in list_files(folder).items()}
        manifest = _parse(_read(folder / MANIFEST, MAX_BYTES))
        listed: dict[str, dict[str, Any]] = manifest["files"]
        if missing := listed.keys() - found.keys():
            name = min(missing)
            raise ArtifactError(f"the file {name!r} is missing; copy the artifact again, with all its files")
        if extra := found.keys() - listed.keys() - {MANIFEST}:
            name = min(extra)
            raise ArtifactError(f"the file {name!r} is not in its {MANIFEST}; if you put it there, delete it")
        for name, entry in listed.items():
            _verify(folder / name, name, entry, found[name])
        return manifest


def peek_manifest(folder: Path) -> dict[str, Any]:
    """The manifest alone: enough to tell which rows a product reads, not to trust the other files.

    Raises:
        ArtifactError: there is none, or it is not what was written.
    """
    with telling(f"Cannot use the artifact '{folder}'"):
        if not (folder / MANIFEST).is_file():
            raise ArtifactError(_without_manifest(folder))
        return _parse(_read(folder / MANIFEST, MAX_BYTES))


def seal(folder: Path, manifest: Mapping[str, Any], known: Mapping[str, str]) -> None:
    """Hash the files of a folder and write its manifest, the last file of an artifact.

    Args:
        manifest: plain JSON values; not the keys ``format``, ``sha256``, ``files``.
        known: sha256 of the files that need not be hashed again, by name.
    """
    if taken := manifest.keys() & {*_OWN_KEYS}:
        raise ArtifactError(f"the manifest key {min(taken)!r} is written by MatrixHub itself")
    if problem := _not_json({**manifest}, "manifest"):
        raise ArtifactError(problem)
    if (folder / MANIFEST).exists():
        raise ArtifactError(f"{MANIFEST} is written by MatrixHub itself; give that file another name")
    files = {name: _entry(folder / name, name, known.get(name)) for name in list_files(folder)}
    whole = {"format": FORMAT, "sha256": _BLANK, **manifest, "files": files}
    raw = json.dumps(whole, indent=1, ensure_ascii=False, allow_nan=False).encode("utf-8")
    raw = raw.replace(_BLANK.encode(), hashlib.sha256(raw).hexdigest().encode(), 1)
    _parse(raw)
    (folder / MANIFEST).write_bytes(raw)


def sha256_of(path: Path) -> str:
    """The sha256 of a file, in hex."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _parse(raw: bytes) -> dict[str, Any]:
    manifest = parse_json(raw, MANIFEST, max_bytes=MAX_BYTES, max_nodes=MAX_NODES)
    if not isinstance(manifest, dict) or type(manifest.get("format")) is not int:
        raise ArtifactError(f"{MANIFEST} is not the manifest of an artifact: it has no 'format' number")
    if manifest["format"] != FORMAT:
        raise ArtifactError(
            f"{MANIFEST} is of format {manifest['format']}, this MatrixHub reads {FORMAT}; "
            "use the version of matrixhub that wrote it, or a newer one"
        )
    _check_files(manifest.get("files"))
    own = manifest.get("sha256")
    if not isinstance(own, str) or not _SHA256.fullmatch(own):
        raise ArtifactError(f"{MANIFEST} does not hold a sha256 of itself")
    if hashlib.sha256(raw.replace(own.encode(), _BLANK.encode(), 1)).hexdigest() != own:
        raise ArtifactError(f"{MANIFEST} was damaged or changed after it was written (sha256)")
    return manifest


def _check_files(files: Any) -> None:
    if not isinstance(files, dict):
        raise ArtifactError(f"{MANIFEST} has no table of 'files'")
    for name, entry in files.items():
        check_name(name)
        if (
            not isinstance(entry, dict)
            or entry.keys() != {"sha256", "size"}
            or not isinstance(entry["sha256"], str)
            or not _SHA256.fullmatch(entry["sha256"])
            or type(entry["size"]) is not int
        ):
            raise ArtifactError(f"{MANIFEST} must give {name!r} a 'sha256' of 64 hex digits and a 'size'")


def _entry(path: Path, name: str, known: str | None) -> dict[str, Any]:
    """The manifest's line on a file that is about to become part of an artifact."""
    if path.suffix == ".json":
        parse_json(_read(path, MAX_JSON_BYTES), name)
    check_magic(_head(path), name)
    return {"sha256": known or sha256_of(path), "size": path.stat().st_size}


def _verify(path: Path, name: str, entry: Mapping[str, Any], size: int) -> None:
    raw = _read(path, MAX_JSON_BYTES) if path.suffix == ".json" else b""
    check_magic(raw or _head(path), name)
    digest = hashlib.sha256(raw).hexdigest() if raw else sha256_of(path)
    intact = size == entry["size"] and digest == entry["sha256"]
    if path.suffix == ".json":
        try:
            parse_json(raw, name)
        except UnsafeArtifactError:
            raise
        except ArtifactError:
            if intact:
                raise
    if not intact:
        raise ArtifactError(
            f"the file {name!r} was damaged or changed after the artifact was written (size or sha256); "
            "copy the artifact again, or train it again"
        )


def _read(path: Path, limit: int) -> bytes:
    with path.open("rb") as file:
        # One more than allowed is enough for `parse_json` to refuse it.
        return file.read(limit + 1)


def _head(path: Path) -> bytes:
    return _read(path, 3)


def _not_json(value: Any, place: str) -> str:
    """What keeps a value from being strict JSON, with the key where it stands; empty when nothing does."""
    match value:
        case None | bool() | int() | str():
            return ""
        case float():
            return "" if math.isfinite(value) else f"{place} is {value}; JSON has no such number, use None"
        case list() | tuple():
            return next(filter(None, (_not_json(v, f"{place}[{i}]") for i, v in enumerate(value))), "")
        case dict():
            if bad := [key for key in value if not isinstance(key, str)]:
                return f"{place} has the key {bad[0]!r}, which is not a string"
            return next(filter(None, (_not_json(v, f"{place}.{k}") for k, v in value.items())), "")
    return f"{place} is a {type(value).__name__}; a manifest holds plain JSON values only"


def _without_manifest(folder: Path) -> str:
    """What is wrong with a folder that has no manifest, and where the artifact that was meant may be."""
    if folder.is_file():
        return "it is a file, and an artifact is a folder."
    if not folder.is_dir():
        previous = folder.with_name(f".{folder.name}.previous")
        interrupted = f" Its replacement was interrupted: rename '{previous}' to it."
        return f"there is no such folder.{interrupted if previous.is_dir() else ''}"
    inside = sorted(path.parent.relative_to(folder).as_posix() for path in folder.glob(f"*/{MANIFEST}"))
    return f"there is no {MANIFEST} in it." + (f" There is one in {', '.join(inside[:3])}." if inside else "")
