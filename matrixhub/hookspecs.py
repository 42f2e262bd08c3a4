"""Every hook of MatrixHub, on one screen.

A plugin is a module (or object) named by one entry point in the group ``matrixhub.plugins``; the
entry point's name is its namespace. It implements the hooks it needs::

    from matrixhub import hookimpl

    @hookimpl
    def matrixhub_components(register):
        register("encoder", "vit", "acme_vit.model:build", config=VitConfig, consumes="image")

It may set ``matrixhub_api = 1``, the version of this page it was written for.

An argument that will go is named in ``@hookspec(warn_on_impl_args={name: DeprecationWarning(text)})``, a
hook that will go in ``@hookspec(warn_on_impl=DeprecationWarning(text))``, one release before it goes.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pluggy

from matrixhub.protocols import Register

API_VERSION = 1
"""Of the hooks and protocols, apart from the package's; a change that can break a plugin raises it."""

OLDEST_API = 1
"""Plugins for an older one are refused, those between accepted with a warning: one behind, at most."""

hookspec = pluggy.HookspecMarker("matrixhub")
hookimpl = pluggy.HookimplMarker("matrixhub")
"""Marks a function of a plugin as its implementation of the hook of that name."""


@hookspec
def matrixhub_components(register: Register) -> None:
    """Offer components: ``register(kind, name, "pkg.module:factory", config=Schema)``.

    ``config`` is a dataclass whose fields, all with defaults, are the factory's options.
    ``consumes``: the modality an encoder reads, the feature level (``"pooled"``, ``"tokens"``) a head
    or fusion reads, ``"prefix"`` of a generator that takes vectors too. ``produces``: the levels an encoder
    gives, the tasks a head learns, ``"loss"`` of a generator that can be trained, ``"prefix"`` of a fusion
    that is for generators.
    """


@hookspec
def matrixhub_config_dirs() -> Sequence[Path]:  # type: ignore[empty-body]
    """Folders of preset YAML, laid out like ``conf/``."""


@hookspec
def matrixhub_check(cell: Mapping[str, Any]) -> Sequence[str]:  # type: ignore[empty-body]
    """Objections to a resolved cell, before any work; each a sentence. No torch here."""


@hookspec
def matrixhub_run_started(run: Any) -> None:
    """A run begins, on the main process."""


@hookspec
def matrixhub_run_finished(run: Any, records: Sequence[Mapping[str, Any]]) -> None:
    """A run has ended, on the main process; ``records`` holds one record for each cell."""


@hookspec
def matrixhub_cell_started(cell: Mapping[str, Any]) -> None:
    """A cell begins to train, on the main process."""


@hookspec
def matrixhub_cell_finished(cell: Mapping[str, Any], record: Mapping[str, Any]) -> None:
    """A cell has its record, on the main process."""


@hookspec
def matrixhub_cli(group: Any) -> None:
    """Extra commands: ``group.add(name, "pkg.module:main", help=...)``; imported when called."""
