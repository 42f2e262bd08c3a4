"""Third parties that watch a run, callbacks and trackers: told in their order, left out when they fail."""

import functools
import logging
from collections.abc import Callable
from typing import Any

log = logging.getLogger("matrixhub")


class Watchers:
    """One that raises costs nothing but itself: watching stops no training, and other ranks would wait.

    Args:
        kind: what they are called in a warning.
    """

    def __init__(self, kind: str) -> None:
        self.kind = kind
        self._members: list[tuple[str, Any]] = []

    def __bool__(self) -> bool:
        return bool(self._members)

    def add(self, name: str, make: Callable[[], Any]) -> None:
        """Make one and tell it from now on."""
        self._went_well(name, lambda: self._members.append((name, make())))

    def each(self, work: Callable[[Any], None]) -> None:
        """Do it with every one that is left."""
        self._members = [
            (name, one) for name, one in self._members if self._went_well(name, functools.partial(work, one))
        ]

    def clear(self) -> None:
        """Forget them all."""
        self._members = []

    def _went_well(self, name: str, work: Callable[[], None]) -> bool:
        try:
            work()
        except Exception as error:  # whatever a third party raises
            log.warning(
                "The %s '%s' failed and is left out from here on: %s: %s",
                self.kind,
                name,
                type(error).__name__,
                error,
            )
            return False
        return True
