"""What a cell depends on beside its config: the code of its components, its rows, its local weights.

A config names these and does not change when they do; the id of a cell must.
"""

import contextlib
import functools
import hashlib
import importlib.metadata
import importlib.util
import os
import re
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import matrixhub
from matrixhub.checkpoints import PACKAGE, resolve_checkpoint
from matrixhub.errors import DataError, MatrixHubError
from matrixhub.registry import Component

Options = dict[str, Any]
"""Config of a component: its registry ``name`` and its options."""

State = dict[str, str]
"""What was seen for one component: ``core`` and ``code`` (what trains it, what it is), ``libraries`` (what
that is built on), the ``rows`` of a source, and the files that an option names, by that option."""

CORE, RESULTS = "matrixhub", ("data", "run")
"""The core's own package, and those folders of it that the outcome of a cell depends on."""

_NAME = re.compile(r"[\w.-]+")
"""Of the distribution that a requirement begins with."""

Look = Callable[[Component, Options], State]


def unseen(component: Component, options: Options) -> State:
    """Looks at nothing: for plans of components that are not installed."""
    return {}


class Surroundings:
    """Looks at each component with its options once, so that a plan of many cells reads nothing twice."""

    def __init__(self) -> None:
        self._code: dict[str, str] = {}
        self._state: dict[tuple[str, str], State] = {}

    def __call__(self, component: Component, options: Options) -> State:
        """The state of a component.

        Raises:
            MatrixHubError: its source cannot be made, or a checkpoint it names is not there.
        """
        key = (component.kind, repr(sorted(options.items())))
        if key not in self._state:
            rows = {"rows": _fingerprint(component, options)} if component.kind == "source" else {}
            self._state[key] = rows or dict(_checkpoints(options))
        package = component.target.partition(":")[0].partition(".")[0]
        for one in (CORE, package):
            if one not in self._code:
                self._code[one] = core_digest() if one == CORE else code_digest(component.target)
        seen = {"core": self._code[CORE], "code": self._code[package]}
        return {**seen, "libraries": libraries(component.distribution), **self._state[key]}


@functools.cache
def libraries(distribution: str) -> str:
    """Installed versions of what a distribution requires: an upgraded tokenizer or resize is another one."""
    try:
        required = importlib.metadata.requires(distribution) or ()
    except (importlib.metadata.PackageNotFoundError, ValueError):  # not installed, or none at all
        return ""
    names = {_NAME.match(one)[0].lower() for one in required if "extra ==" not in one}  # type: ignore[index]
    found = []
    for name in sorted(names):
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            found.append(f"{name} {importlib.metadata.version(name)}")
    return ", ".join(found)


def code_digest(target: str) -> str:
    """Hash of the Python files of the package that ``target`` (``"pkg.module:factory"``) lives in.

    A version tells releases apart; an author who edits an encoder between them needs this.
    """
    spec = importlib.util.find_spec(target.partition(":")[0].partition(".")[0])
    folders = list(spec.submodule_search_locations or ()) if spec else []
    files = sorted(path for folder in folders for path in Path(folder).rglob("*.py"))
    if spec and spec.origin and not folders:
        files = [Path(spec.origin)]
    return _content_digest(files)


def core_digest() -> str:
    """Hash of the Python files of the core that read, encode, train and score."""
    root = Path(matrixhub.__file__).parent
    return _content_digest(sorted(path for name in RESULTS for path in (root / name).rglob("*.py")))


def _content_digest(files: Iterable[Path]) -> str:
    digest = hashlib.sha256()
    for path in files:
        digest.update(hashlib.sha256(path.read_bytes()).digest())
    return digest.hexdigest()[:16]


def _fingerprint(component: Component, options: Options) -> str:
    try:
        source = component.factory()(**{k: v for k, v in options.items() if k != "name"})
        return str(source.fingerprint())
    except MatrixHubError:
        raise
    except Exception as error:  # whatever a plugin's source raises costs its own cells only
        raise DataError(
            f"Source '{component.name}' cannot be made: {type(error).__name__}: {error}"
        ) from error


def _checkpoints(options: Options) -> Iterator[tuple[str, str]]:
    """State of the files that options name; what is not on this machine, such as a hub id, is its text."""
    for key, value in options.items():
        if not isinstance(value, str) or not (key == "checkpoint" or value.startswith(PACKAGE)):
            continue
        found = resolve_checkpoint(value)
        if isinstance(found, Path):
            yield key, _files_state(found)


def _files_state(root: Path) -> str:
    """Hash of name, size and modification time of a file, or of all files below a folder."""
    paths = [root] if root.is_file() else sorted(path for path in root.rglob("*") if path.is_file())
    digest = hashlib.sha256()
    for path in paths:
        stat = path.stat()
        state = f"{path.relative_to(root.parent)}\0{stat.st_size} {stat.st_mtime_ns}\n"
        digest.update(os.fsencode(state))
    return digest.hexdigest()[:16]
