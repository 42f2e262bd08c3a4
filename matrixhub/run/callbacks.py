"""The callbacks of a run."""

import functools
from collections.abc import Mapping, Sequence
from typing import Any

from matrixhub.run.model import build
from matrixhub.run.watchers import Watchers


class Callbacks:
    """Made once a run, on its main process.

    Args:
        chosen: component options, in the order in which they are told.
    """

    def __init__(self, chosen: Sequence[Mapping[str, Any]] = ()) -> None:
        self._watchers = Watchers("callback")
        for options in chosen:
            self._watchers.add(options["name"], functools.partial(build, "callback", options))

    def tell(self, method: str, *arguments: Any) -> None:
        """Call a method of all that have it."""

        def tell_one(callback: Any) -> None:
            if told := getattr(callback, method, None):
                told(*arguments)

        self._watchers.each(tell_one)
