"""What went wrong while reading or writing an artifact, in plain words."""

import errno
from collections.abc import Iterator
from contextlib import contextmanager

from matrixhub.errors import ArtifactError, MatrixHubError

_FULL = (errno.ENOSPC, errno.EDQUOT)
_FORBIDDEN = (errno.EACCES, errno.EPERM, errno.EROFS)


@contextmanager
def telling(what: str) -> Iterator[None]:
    """Turn every error inside into an ``ArtifactError`` that begins with ``what``.

    An ``ArtifactError`` keeps its type; any other ``MatrixHubError`` passes as it is.
    """
    try:
        yield
    except ArtifactError as error:
        raise type(error)(f"{what}: {error}") from error
    except MatrixHubError:
        raise
    except Exception as error:
        raise ArtifactError(f"{what}: {plain(error)}") from error


def plain(error: Exception) -> str:
    """One clause on the cause; also for native libraries, which put the number into the text."""
    number = error.errno if isinstance(error, OSError) else None
    if number in _FULL or f"os error {errno.ENOSPC}" in str(error):
        return "the disk is full; free some space, or choose a folder on another disk"
    if number in _FORBIDDEN:
        return f"no permission for '{getattr(error, 'filename', None)}'"
    if isinstance(error, OSError) and error.strerror:
        return f"{error.strerror} ({error.filename})" if error.filename else error.strerror
    return f"{type(error).__name__}: {error}"
