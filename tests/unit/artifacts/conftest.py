"""Artifacts as an attacker would write them: right digests, wrong content."""

import hashlib
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

Forge = Callable[..., Path]


def digest(raw: bytes) -> str:
    return hashlib.sha256(raw).hexdigest()


def sealed(manifest: Mapping[str, Any]) -> bytes:
    """A manifest whose own digest is right."""
    raw = json.dumps({"sha256": "0" * 64, **manifest}).encode()
    return raw.replace(b"0" * 64, digest(raw).encode(), 1)


@pytest.fixture
def forge(tmp_path: Path) -> Forge:
    """``forge(contents, listed=..., **manifest)`` writes a folder without any of the writer's checks."""

    def make(
        contents: Mapping[str, bytes], *, listed: Mapping[str, bytes] | None = None, **manifest: Any
    ) -> Path:
        folder = tmp_path / "forged"
        for name, raw in contents.items():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_bytes(raw)
        table = {
            name: {"sha256": digest(raw), "size": len(raw)} for name, raw in (listed or contents).items()
        }
        folder.mkdir(exist_ok=True)
        (folder / "manifest.json").write_bytes(sealed({"format": 1, "files": table, **manifest}))
        return folder

    return make
