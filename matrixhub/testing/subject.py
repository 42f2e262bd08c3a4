"""What checks are asked of: a plugin, a component as it was registered, a component that is built."""

import contextlib
import dataclasses
import functools
import importlib.metadata
import importlib.util
import json
import sys
import tempfile
import traceback
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlparse

from matrixhub.plugins import GROUP, Hub, Plugin
from matrixhub.registry import Component
from matrixhub.testing.check import COMPONENT, PLUGIN, Blocked, Failed, Skipped
from matrixhub.testing.declared import Options
from matrixhub.testing.exercises import Exercise, exercise_of
from matrixhub.testing.watch import Seen, watching
from matrixhub.types import MISSING


@dataclass(eq=False)
class PluginSubject:
    """A plugin as a whole."""

    namespace: str
    hub: Hub
    parent: None = None

    kind = PLUGIN
    key = PLUGIN
    variant = ""

    @property
    def label(self) -> str:
        """As it is reported."""
        return f"plugin {self.namespace}"

    @property
    def plugin(self) -> Plugin:
        """What became of it when it was loaded."""
        return next(p for p in self.hub.plugins if p.namespace == self.namespace)

    @property
    def entry_points(self) -> list[importlib.metadata.EntryPoint]:
        """Of every installed distribution that uses this namespace."""
        return list(importlib.metadata.entry_points(group=GROUP, name=self.namespace))

    @property
    def distribution(self) -> importlib.metadata.Distribution:
        """The installed package it came from."""
        return importlib.metadata.distribution(self.plugin.distribution)

    @property
    def module(self) -> str:
        """Its entry module."""
        return self.plugin.target.partition(":")[0]

    @property
    def folder(self) -> Path | None:
        """Of its package; None where that is a single module, or is not there."""
        try:
            spec = importlib.util.find_spec(self.module.partition(".")[0])
        except (ImportError, ValueError):
            return None
        places = list(spec.submodule_search_locations or ()) if spec else []
        return Path(places[0]) if places else None

    @property
    def project(self) -> Path | None:
        """The folder of its ``pyproject.toml``, where it is installed from one that can be edited."""
        found = json.loads(self.distribution.read_text("direct_url.json") or "{}")
        url = urlparse(found.get("url", ""))
        folder = Path(unquote(url.path))
        return folder if url.scheme == "file" and (folder / "pyproject.toml").is_file() else None


@dataclass(eq=False)
class ComponentSubject:
    """A component as it was registered, not built; ``seen`` is what importing it does to the process."""

    component: Component
    parent: PluginSubject
    seen: Seen = field(default_factory=Seen)

    kind = COMPONENT
    variant = ""

    @property
    def key(self) -> str:
        """Under which its options and expected failures are declared."""
        return f"{self.component.kind}.{self.component.alias}"

    @property
    def label(self) -> str:
        """As it is reported."""
        return f"{self.component.kind} {self.component.name}"


@dataclass(eq=False)
class Subject:
    """A component that is built: one way to build it, and for a head one task.

    Whatever it does to the process while it is built or asked is undone, and kept in ``seen``.

    Attributes:
        declared: its options, or what makes them; None where the author declared none.
        variant: which of several ways to build it.
        task: what a head is to learn.
        rows: declared rows, by modality.
    """

    component: Component
    parent: ComponentSubject
    declared: Options | None = None
    variant: str = ""
    task: str = ""
    rows: dict[str, list[Any]] = field(default_factory=dict)
    seen: Seen = field(default_factory=Seen)

    @property
    def kind(self) -> str:
        """Of the component."""
        return self.component.kind

    @property
    def key(self) -> str:
        """As of the component."""
        return self.parent.key

    @property
    def label(self) -> str:
        """As it is reported."""
        variant = f"@{self.variant}" if self.variant else ""
        return f"{self.parent.label}{variant}{f' {self.task}' if self.task else ''}"

    @functools.cached_property
    def folder(self) -> Path:
        """An empty folder of its own, gone with the process."""
        self._folder = tempfile.TemporaryDirectory(prefix="matrixhub-check-")
        return Path(self._folder.name)

    @functools.cached_property
    def given(self) -> dict[str, Any]:
        """What was declared of its options."""
        if callable(self.declared):
            return dict(self.declared(self.folder))
        return dict(self.declared or {})

    @functools.cached_property
    def options(self) -> dict[str, Any]:
        """Every option of its config.

        Raises:
            Blocked: some have no default, and were not declared.
        """
        options = {**dataclasses.asdict(self.component.config()), **self.given}
        if missing := [name for name, value in options.items() if value == MISSING]:
            example = ", ".join(f'"{name}": …' for name in missing)
            raise Blocked(
                f"{', '.join(missing)} of its config must be filled in: declare how to build it small, "
                f'conformance(…, options={{"{self.key}": {{{example}}}}}), or in conformance.toml'
            )
        return options

    @functools.cached_property
    def exercise(self) -> Exercise:
        """What to put in and what comes out, for its kind."""
        return exercise_of(self.component, self.task, self.rows)

    @contextlib.contextmanager
    def watched(self) -> Iterator[None]:
        """Around all that its code does."""
        with watching(self.seen):
            yield

    def build(self, **changes: Any) -> Any:
        """A new one, as the core makes it; a module comes in eval mode."""
        if self.exercise.is_module:
            import torch  # before watching: what this import does is not the component's doing
        with self.watched():
            made = self.component.factory()(**self.exercise.supplied, **{**self.options, **changes})
        return made.eval() if self.exercise.is_module and isinstance(made, torch.nn.Module) else made

    @functools.cached_property
    def built(self) -> Any:
        """One for all checks that change nothing."""
        return self.build()

    def bare(self) -> Any:
        """A new one without pretrained weights, as an artifact makes it before it loads its own."""
        fields = {f.name for f in dataclasses.fields(self.component.config)}
        changes: dict[str, Any] = {"pretrained": False}
        if hasattr(self.built, "save_assets"):
            changes["checkpoint"] = str(self.assets)
        return self.build(**{name: value for name, value in changes.items() if name in fields})

    @functools.cached_property
    def assets(self) -> Path:
        """What ``save_assets`` wrote."""
        folder = Path(tempfile.mkdtemp(dir=self.folder))
        with self.watched():
            self.built.save_assets(folder)
        return folder

    @functools.cached_property
    def inputs(self) -> Any:
        """What it is asked; not to be changed."""
        with self.watched():
            return self.exercise.inputs(self.built)

    def answers(self, module: Any = None, inputs: Any = None) -> dict[str, Any]:
        """What it, or another of its kind, makes of the inputs: tensors or plain values, by name."""
        import torch

        with self.watched(), torch.no_grad():
            return self.exercise.answers(
                self.built if module is None else module, self.inputs if inputs is None else inputs
            )

    @functools.cached_property
    def answered(self) -> dict[str, Any]:
        """What it makes of the inputs; not to be changed."""
        return self.answers()


AnySubject = PluginSubject | ComponentSubject | Subject


def told(error: BaseException) -> str:
    """What was raised and where, in one line."""
    if isinstance(error, Failed | Skipped):
        return str(error)
    frames = traceback.extract_tb(error.__traceback__)
    here = str(Path(__file__).parent)
    outside = [frame for frame in frames if not frame.filename.startswith(here)]
    plain = [
        frame
        for frame in outside
        if "site-packages" not in frame.filename and sys.prefix not in frame.filename
    ]
    place = (plain or outside)[-1] if outside else None
    at = f", at line {place.lineno} of {Path(place.filename).name}" if place else ""
    text = str(error).strip() or "no message"
    return f"{type(error).__name__}: {text}{at}"
