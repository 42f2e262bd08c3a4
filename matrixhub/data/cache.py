"""The folder of the feature store, shelf by shelf, without reading a feature: listed, measured, emptied.

A shelf is ``features/KEY``: what one encoder with one set of options said about rows. It holds segments and
``shelf.json``: what made it, and by its time when it was last used. ``features/KEY.lock`` stays beside it.
"""

import contextlib
import json
import os
import shutil
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

ABOUT = "shelf.json"
_META = "meta.json"


def default_cache_dir() -> Path:
    """``MATRIXHUB_CACHE``, else ``matrixhub`` in the user's cache folder."""
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(os.environ.get("MATRIXHUB_CACHE") or Path(base) / "matrixhub")


@dataclass(frozen=True, slots=True)
class ShelfSummary:
    """A shelf, from outside.

    Attributes:
        folder: where it is.
        about: what made it: ``encoder`` (its options), ``level``, versions and hashes.
        num_rows: how many it has.
        num_bytes: on disk.
        last_used: seconds since 1970.
    """

    folder: Path
    about: Mapping[str, Any]
    num_rows: int
    num_bytes: int
    last_used: float


def shelf_folder(root: Path, key: str) -> Path:
    """Where the shelf of that key is or will be."""
    return root / "features" / key


def shelf_lock(folder: Path) -> FileLock:
    """One writer at a time; released when its process dies."""
    return FileLock(folder.with_suffix(".lock"))


def shelves(root: Path) -> list[ShelfSummary]:
    """All shelves, the one used longest ago first."""
    found = [_summary(about) for about in (root / "features").glob(f"*/{ABOUT}")]
    return sorted((one for one in found if one), key=lambda one: one.last_used)


def prune(
    root: Path,
    *,
    used_before: float | None = None,
    max_bytes: float | None = None,
    keep: Collection[str] = (),
) -> list[ShelfSummary]:
    """Remove shelves that nobody is writing to; whoever has read them keeps what is read.

    Args:
        root: of the store.
        used_before: those last used before then, in seconds since 1970.
        max_bytes: those used longest ago, until the others take no more than this.
        keep: keys of shelves to leave alone.

    Returns:
        What was removed.
    """
    removed = []
    found = shelves(root)
    total = sum(one.num_bytes for one in found)
    for one in found:
        is_old = used_before is not None and one.last_used < used_before
        is_over = max_bytes is not None and total > max_bytes
        if one.folder.name not in keep and (is_old or is_over) and _remove(one.folder):
            total -= one.num_bytes
            removed.append(one)
    return removed


def _remove(folder: Path) -> bool:
    try:
        with shelf_lock(folder).acquire(timeout=0):
            shutil.rmtree(folder, ignore_errors=True)
    except (Timeout, OSError):
        return False
    return not folder.exists()


def _summary(about: Path) -> ShelfSummary | None:
    """None for a shelf that is just being removed."""
    folder, made_by = about.parent, {}
    try:
        last_used = about.stat().st_mtime
        made_by = json.loads(about.read_text())
    except OSError:
        return None
    except ValueError:
        pass  # a writer was killed just then
    num_rows = num_bytes = 0
    # Not rglob(), which raises when a folder goes while it looks: others may be writing and removing here.
    for parent, _, names in os.walk(folder):
        for path in (Path(parent, name) for name in names):
            with contextlib.suppress(OSError, ValueError, KeyError, TypeError):
                num_bytes += path.stat().st_size
                num_rows += json.loads(path.read_text())["rows"] if path.name == _META else 0
    return ShelfSummary(folder, made_by, num_rows, num_bytes, last_used)
