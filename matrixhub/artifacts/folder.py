"""Artifacts on disk: written in full under another name, then renamed; never edited in place.

Files of several artifacts may share their bytes by hard links, so changing one in place would change the
others too; reading any of them would then refuse it. To change an artifact, write it again. A reader that
a replacement overtakes is refused while it verifies; files opened later are not looked at again, so do not
replace an artifact that somebody is loading.
"""

import ctypes
import errno
import fcntl
import os
import re
import secrets
import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from matrixhub.artifacts.faults import telling
from matrixhub.artifacts.manifest import MANIFEST, read_manifest, seal, sha256_of
from matrixhub.errors import ArtifactError

__all__ = ["link_or_copy", "read_manifest", "remove_stale", "sha256_of", "write_artifact"]

_STAGING = re.compile(r"\.matrixhub-staging-[0-9a-f]{16}")
_AT_FDCWD, _RENAME_EXCHANGE = -100, 2


def write_artifact(
    folder: Path,
    manifest: Mapping[str, Any],
    write: Callable[[Path], Mapping[str, str] | None],
    *,
    replace: bool = False,
) -> None:
    """Write an artifact as a whole, or not at all.

    Args:
        folder: final name; its parents are made.
        manifest: plain JSON values; the format and the digests of all files are added.
        write: puts the files into the folder it is given. It may return the sha256 of files whose
            digest it knows already, by name, which saves hashing them.
        replace: take the place of the artifact under that name; without it, that is refused.

    Raises:
        ArtifactError: it could not be written; what stood under the name still does.
        UnsafeArtifactError: ``write`` left something that no artifact may hold.
    """
    folder = Path(folder).absolute()
    with telling(f"Could not save the artifact '{folder}', nothing was changed there"):
        _check_place(folder, replace)
        folder.parent.mkdir(parents=True, exist_ok=True)
        remove_stale(folder.parent)
        with _staging(folder.parent) as staging:
            known = write(staging)
            seal(staging, manifest, known or {})
            _sync_tree(staging)
            _publish(staging, folder)


def link_or_copy(source: Path, destination: Path) -> None:
    """Give ``destination`` the bytes of ``source``: a hard link where possible, a copy elsewhere.

    The source must be a file that nobody edits in place, such as one of another artifact.
    """
    destination.parent.mkdir(parents=True, exist_ok=True)
    source = source.resolve(strict=True)
    try:
        os.link(source, destination)
    except FileExistsError:
        raise
    except OSError:  # another disk, too many links, or a file system without them
        shutil.copyfile(source, destination)


def remove_stale(parent: Path) -> None:
    """Remove what killed writers left in a folder; writers at work hold a lock and are left alone."""
    for path in parent.iterdir():
        if _STAGING.fullmatch(path.name) and not path.is_symlink():
            with suppress(OSError), _opened(path) as handle:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                shutil.rmtree(path, ignore_errors=True)


def _check_place(folder: Path, replace: bool) -> None:
    if not os.path.lexists(folder):
        return
    if not replace:
        raise ArtifactError(
            "there is something under that name; choose another name, or replace it on purpose"
        )
    if folder.is_symlink() or not (folder / MANIFEST).is_file():
        raise ArtifactError("what is under that name is not an artifact, so it is not replaced")


@contextmanager
def _staging(parent: Path) -> Iterator[Path]:
    """A locked folder beside the final name; what is left of it in the end is removed."""
    while True:
        staging = parent / f".matrixhub-staging-{secrets.token_hex(8)}"
        staging.mkdir()
        try:
            with _opened(staging) as handle:
                # Where folders cannot be locked, nobody can lock one to remove it, either.
                with suppress(OSError):
                    fcntl.flock(handle, fcntl.LOCK_EX)
                # Between making and locking it, `remove_stale` of another process may have had it.
                if staging.is_dir():
                    yield staging
                    return
        finally:
            shutil.rmtree(staging, ignore_errors=True)


@contextmanager
def _opened(path: Path) -> Iterator[int]:
    handle = os.open(path, os.O_RDONLY)
    try:
        yield handle
    finally:
        os.close(handle)


def _publish(staging: Path, folder: Path) -> None:
    """Move a complete artifact to its final name; afterwards ``staging`` holds the old one, if any."""
    if not folder.exists():
        staging.rename(folder)
    elif not _exchange(staging, folder):
        _move_aside(staging, folder)
    # Done: the new one is in place and complete. At worst, a power cut now brings back the old state.
    with suppress(OSError):
        _sync(folder.parent)


def _exchange(staging: Path, folder: Path) -> bool:
    """Swap two folders in one step; False where the system cannot."""
    renameat2 = getattr(ctypes.CDLL(None, use_errno=True), "renameat2", None)
    if renameat2 is None:
        return False
    names = ctypes.c_char_p(os.fsencode(staging)), ctypes.c_char_p(os.fsencode(folder))
    if renameat2(_AT_FDCWD, names[0], _AT_FDCWD, names[1], _RENAME_EXCHANGE) == 0:
        return True
    number = ctypes.get_errno()
    if number in (errno.EINVAL, errno.ENOSYS, errno.ENOTSUP):
        return False
    raise OSError(number, os.strerror(number), str(folder))


def _move_aside(staging: Path, folder: Path) -> None:
    """Replace in two steps. Killed between them, the old one waits under a name that reading tells of."""
    previous = folder.with_name(f".{folder.name}.previous")
    shutil.rmtree(previous, ignore_errors=True)
    folder.rename(previous)
    try:
        staging.rename(folder)
    except OSError:
        previous.rename(folder)
        raise
    shutil.rmtree(previous, ignore_errors=True)


def _sync_tree(folder: Path) -> None:
    """Bring every file and folder to the disk, innermost first."""
    for root, _, files in os.walk(folder, topdown=False):
        for name in files:
            _sync(Path(root, name))
        _sync(Path(root))


def _sync(path: Path) -> None:
    with _opened(path) as handle:
        try:
            os.fsync(handle)
        except OSError as error:
            if error.errno not in (errno.EINVAL, errno.ENOTSUP):  # a file system that cannot sync a folder
                raise
