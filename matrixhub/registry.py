"""Kind and name to a lazy component. Nothing is imported until a component is built."""

import importlib
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

from matrixhub import diagnosis
from matrixhub.errors import PluginError, UnknownNameError

KINDS = ("source", "transform", "encoder", "fusion", "head", "generator", "callback")


@dataclass(frozen=True, slots=True)
class Component:
    """What a plugin offers under one name.

    Attributes:
        kind: one of ``KINDS``.
        name: ``namespace.name``.
        target: ``"pkg.module:factory"``, imported only by ``factory()``.
        config: dataclass of the factory's options.
        consumes: the modality an encoder reads; the feature level a head or fusion reads; a generator's
            ``prefix``.
        produces: the feature levels an encoder gives; the tasks a head learns; a generator's ``loss``, a
            fusion's ``prefix``.
        distribution, version: the installed package it came from.
    """

    kind: str
    name: str
    target: str
    config: type
    consumes: tuple[str, ...] = ()
    produces: tuple[str, ...] = ()
    distribution: str = ""
    version: str = ""

    @property
    def namespace(self) -> str:
        """The plugin's entry-point name."""
        return self.name.partition(".")[0]

    @property
    def alias(self) -> str:
        """The name without its namespace."""
        return self.name.partition(".")[2]

    @property
    def groups(self) -> tuple[str, ...]:
        """The Hydra groups whose options it appears in."""
        match self.kind:
            case "encoder":
                return tuple(f"encoder/{modality}" for modality in self.consumes)
            case "source" | "transform":
                return (f"product/{self.kind}",)
            case _:
                return (self.kind,)

    def factory(self) -> Callable[..., Any]:
        """Import the target.

        Raises:
            PluginError: the module cannot be imported or has no such attribute; with the cause and its cure.
        """
        module_name, _, attribute = self.target.partition(":")
        try:
            factory: Callable[..., Any] = getattr(importlib.import_module(module_name), attribute)
        except (Exception, SystemExit) as error:  # whatever a third party's module raises
            cure = diagnosis.cure(error, self.distribution, module_name)
            raise PluginError(
                f"{self.kind} '{self.name}' of {self.distribution} {self.version} cannot be built:"
                f" {type(error).__name__}: {error}. What to do: {cure}."
            ) from error
        return factory


@dataclass(slots=True)
class Registry:
    """All components of the plugins that loaded."""

    components: dict[tuple[str, str], Component] = field(default_factory=dict)

    def add(self, component: Component) -> None:
        """Register a component.

        Raises:
            PluginError: unknown kind, malformed name or target, or a name that is taken.
        """
        if component.kind not in KINDS:
            raise PluginError(
                f"unknown kind '{component.kind}'; allowed: {', '.join(KINDS)}",
                f'its author: write one of these in register("{component.kind}", "{component.alias}", ...)',
            )
        if not all(part.isidentifier() for part in component.name.split(".")) or not component.alias:
            raise PluginError(
                f"'{component.name}' is not a name: use letters, digits and '_'",
                f"its author: rename the entry point '{component.namespace}' or the component",
            )
        if not component.target.partition(":")[2]:
            raise PluginError(
                f"target '{component.target}' of {component.name} is not 'pkg.module:factory'",
                f"its author: name the factory after a colon, '{component.target}:FACTORY'",
            )
        key = (component.kind, component.name)
        if key in self.components:
            raise PluginError(
                f"{component.kind} '{component.name}' is registered twice",
                f'its author: leave out or rename one register("{component.kind}", "{component.alias}", ...)',
            )
        self.components[key] = component

    def of_kind(self, kind: str | None = None) -> list[Component]:
        """Components of one kind, or all, by name."""
        found = (c for c in self.components.values() if kind in (None, c.kind))
        return sorted(found, key=lambda c: (KINDS.index(c.kind), c.name))

    def get(self, kind: str, name: str) -> Component:
        """The component of that full name, or of that alias where only one plugin uses it.

        Raises:
            UnknownNameError: with the nearest names.
        """
        if found := self.maybe_get(kind, name):
            return found
        same_alias = [c.name for c in self.of_kind(kind) if c.alias == name]
        hint = f"'{name}' is short for {' and '.join(same_alias)}: write one in full." if same_alias else ""
        raise UnknownNameError(kind, name, (c.name for c in self.of_kind(kind)), hint)

    def maybe_get(self, kind: str, name: str) -> Component | None:
        """Like ``get``, None where there is none."""
        if exact := self.components.get((kind, name)):
            return exact
        matches = [c for c in self.of_kind(kind) if c.alias == name]
        return matches[0] if len(matches) == 1 else None

    def group_options(self, group: str) -> dict[str, Component]:
        """Names to choose from in a Hydra group: full names, and aliases where unique."""
        members = [c for c in self.components.values() if group in c.groups]
        options = {c.name: c for c in members}
        times = Counter(c.alias for c in members)
        for component in members:
            if times[component.alias] == 1:
                options.setdefault(component.alias, component)
        return options

    def group_names(self, group: str) -> list[str]:
        """As ``group_options``, each component once: by its alias, where that is an option."""
        options = self.group_options(group)
        return sorted(name for name, one in options.items() if name == one.alias or one.alias not in options)

    @property
    def groups(self) -> set[str]:
        """Every Hydra group that has a component."""
        return {group for c in self.components.values() for group in c.groups}


def as_names(names: str | Iterable[str]) -> tuple[str, ...]:
    """One name or several, as a tuple."""
    return (names,) if isinstance(names, str) else tuple(names)
