"""The callbacks of a run: told in their order, and left out when they fail."""

import contextlib
import logging
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from matrixhub.run.model import build

log = logging.getLogger("matrixhub")


class Callbacks:
    """Made once a run, on its main process.

    Args:
        chosen: component options, in the order in which they are told.
    """

    def __init__(self, chosen: Sequence[Mapping[str, Any]] = ()) -> None:
        self._callbacks: dict[int, tuple[str, Any]] = {}
        for number, options in enumerate(chosen):
            with _left_out(options["name"]):
                self._callbacks[number] = options["name"], build("callback", options)

    def tell(self, method: str, *arguments: Any) -> None:
        """Call a method of all that have it; one that raises is warned about, and is not called again."""
        for number, (name, callback) in list(self._callbacks.items()):
            with _left_out(name):
                if told := getattr(callback, method, None):
                    told(*arguments)
                continue
            del self._callbacks[number]


@contextlib.contextmanager
def _left_out(name: str) -> Iterator[None]:
    """A callback that raises costs nothing but itself: it is a third party's, and other ranks would wait."""
    try:
        yield
    except Exception as error:
        log.warning(
            "The callback '%s' failed and is left out from here on: %s: %s", name, type(error).__name__, error
        )
