"""Installed plugins: found as metadata, loaded one by one, each fault kept to its plugin.

pluggy's own entry-point loader stops at the first plugin that raises and skips a second plugin of a
taken name in silence, so the loop over entry points is ours.
"""

import dataclasses
import functools
import importlib
import logging
import os
import time
import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from importlib.metadata import Distribution, EntryPoint, entry_points
from pathlib import Path
from typing import Any

import pluggy

from matrixhub import diagnosis, hookspecs
from matrixhub.errors import MatrixHubError, PluginError, unknown_name
from matrixhub.homes import home_of
from matrixhub.registry import Component, Registry, as_names

log = logging.getLogger("matrixhub")

GROUP = "matrixhub.plugins"
ALLOWLIST = "MATRIXHUB_PLUGINS"
STRICT = "MATRIXHUB_STRICT"
CORE = "core"
CORE_TARGET = "matrixhub.components"


@dataclass(slots=True)
class Plugin:
    """One installed plugin and what became of it.

    Attributes:
        namespace: its entry-point name.
        target: module (or ``module:object``) that the entry point names.
        distribution, version: the installed package.
        api: version of the hooks it was written for.
        fault: why it was set aside; empty when it works.
        cure: what to do about the fault.
        warnings: what will make it fail in a version to come.
        config_dirs: its folders of presets.
        milliseconds: that loading it took.
    """

    namespace: str
    target: str
    distribution: str
    version: str
    api: int = hookspecs.API_VERSION
    fault: str = ""
    cure: str = ""
    warnings: list[str] = field(default_factory=list)
    config_dirs: list[Path] = field(default_factory=list)
    milliseconds: float = 0.0


@dataclass(slots=True)
class Hub:
    """The plugins of this process: a registry, and their hooks.

    ``unknown`` has a sentence on each allowed namespace that no installed plugin has. With ``strict`` a
    plugin's fault raises, where else it costs that plugin only.
    """

    registry: Registry = field(default_factory=Registry)
    plugins: list[Plugin] = field(default_factory=list)
    unknown: list[str] = field(default_factory=list)
    strict: bool = False
    manager: pluggy.PluginManager = field(default_factory=lambda: pluggy.PluginManager("matrixhub"))

    def __post_init__(self) -> None:
        self.manager.add_hookspecs(hookspecs)

    @property
    def faults(self) -> list[Plugin]:
        """Plugins that were set aside."""
        return [plugin for plugin in self.plugins if plugin.fault]

    @property
    def config_dirs(self) -> list[Path]:
        """The plugins' folders of presets."""
        return [folder for plugin in self.plugins for folder in plugin.config_dirs]

    def fault_of(self, name: str) -> str:
        """A sentence on the set-aside plugin that ``name`` (``namespace.name``) would come from."""
        namespace = name.partition(".")[0]
        for plugin in self.faults:
            if plugin.namespace == namespace:
                return f"The plugin '{namespace}' ({plugin.distribution}) was set aside: {plugin.fault}."
        return ""

    @property
    def distributions(self) -> set[str]:
        """Installed packages that hold plugins."""
        return {plugin.distribution for plugin in self.plugins}

    def absent(self, group: str, name: str) -> str:
        """A sentence on the first-party package that ``name`` comes with, where it is not installed."""
        home = home_of(group, name)
        return f"It comes with: pip install {home}." if home and home not in self.distributions else ""

    def component(self, kind: str, name: str) -> Component:
        """The component, or why there is none.

        Raises:
            PluginError: its plugin is set aside.
            UnknownNameError: no such name, with the nearest ones.
        """
        found = self.registry.maybe_get(kind, name)
        if found is None and (fault := self.fault_of(name) or self.absent(kind, name)):
            raise PluginError(f"No {kind} '{name}'. {fault}")
        return found or self.registry.get(kind, name)

    def load(self, entry_point: EntryPoint) -> None:
        """Load one plugin; a fault is recorded.

        Raises:
            PluginError: it has a fault, and the hub is strict.
        """
        started = time.perf_counter()
        name, version = _installed(entry_point.dist)
        plugin = Plugin(entry_point.name, entry_point.value, name, version)
        taken = next((p for p in self.plugins if p.namespace == plugin.namespace and not p.fault), None)
        self.plugins.append(plugin)
        try:
            if taken:
                raise _taken(plugin, taken)
            self._add(entry_point.load(), plugin)
        except (Exception, SystemExit) as error:  # whatever a third party raises costs that plugin only
            self._set_aside(plugin, error)
        finally:
            plugin.milliseconds = 1000 * (time.perf_counter() - started)

    def _add(self, module: Any, plugin: Plugin) -> None:
        """Take in what the plugin offers, all or nothing."""
        self._check(module, plugin)
        components, config_dirs = self._collect(module, plugin)
        for component in components:
            self.registry.add(component)
        plugin.config_dirs = config_dirs

    def _set_aside(self, plugin: Plugin, error: BaseException) -> None:
        kind = "" if isinstance(error, MatrixHubError) else f"{type(error).__name__}: "
        plugin.fault = f"{kind}{error}" or type(error).__name__
        module = plugin.target.partition(":")[0]
        plugin.cure = diagnosis.cure(error, plugin.distribution, module)
        works = any(p.namespace == plugin.namespace and not p.fault for p in self.plugins)
        if self.manager.has_plugin(plugin.namespace) and not works:
            self.manager.unregister(name=plugin.namespace)
        if self.strict:
            raise PluginError(f"{self.fault_of(plugin.namespace)} What to do: {plugin.cure}.") from error

    @staticmethod
    def _check(module: Any, plugin: Plugin) -> None:
        """Note the version of the hooks it was written for, or refuse it."""
        wanted, ours = getattr(module, "matrixhub_api", hookspecs.API_VERSION), hookspecs.API_VERSION
        if not isinstance(wanted, int):
            raise PluginError(
                f"matrixhub_api is {wanted!r}, not a whole number",
                f"its author: write matrixhub_api = {ours}",
            )
        plugin.api = wanted
        upgrade = f"pip install --upgrade {plugin.distribution}"
        rewrite = f"its author: follow the changelog, then write matrixhub_api = {ours}"
        if wanted > ours:
            raise PluginError(
                f"it was written for plugin API {wanted}, this MatrixHub has {ours}; upgrade matrixhub",
                "pip install --upgrade matrixhub",
            )
        if wanted < hookspecs.OLDEST_API:
            raise PluginError(
                f"it was written for plugin API {wanted}, this MatrixHub has {ours}; upgrade the plugin",
                f"{upgrade}; {rewrite}",
            )
        if wanted < ours:
            plugin.warnings.append(
                f"it was written for plugin API {wanted}, which the next one drops; {upgrade}; {rewrite}"
            )

    def _collect(self, module: Any, plugin: Plugin) -> tuple[list[Component], list[Path]]:
        """Register the plugin's hooks and call the two that describe it."""
        with warnings.catch_warnings(record=True) as told:
            warnings.simplefilter("always")
            self.manager.register(module, name=plugin.namespace)
        plugin.warnings += [str(warning.message) for warning in told]
        _refuse_misnamed(module)
        self.manager.check_pending()
        scratch = Registry()

        def register(
            kind: str,
            name: str,
            target: str,
            *,
            config: type,
            consumes: str | Iterable[str] = (),
            produces: str | Iterable[str] = (),
        ) -> None:
            if not (isinstance(config, type) and dataclasses.is_dataclass(config)):
                raise PluginError(
                    f"config of {kind} '{name}' is not a dataclass",
                    f"its author: write @dataclass above the class that is {name}'s config=",
                )
            if any(field.name == "name" for field in dataclasses.fields(config)):
                raise PluginError(
                    f"config of {kind} '{name}' has a field 'name', which names the component",
                    f"its author: call the field of {config.__name__} something else",
                )
            scratch.add(
                Component(
                    kind=kind,
                    name=f"{plugin.namespace}.{name}",
                    target=target,
                    config=config,
                    consumes=as_names(consumes),
                    produces=as_names(produces),
                    distribution=plugin.distribution,
                    version=plugin.version,
                )
            )

        self.hook_of(plugin.namespace).matrixhub_components(register=register)
        dirs = [Path(d) for found in self.hook_of(plugin.namespace).matrixhub_config_dirs() for d in found]
        if missing := [str(d) for d in dirs if not d.is_dir()]:
            raise PluginError(
                f"its config folder is not there: {', '.join(missing)}",
                f"pip install --force-reinstall {plugin.distribution}; its author: return from "
                "matrixhub_config_dirs folders that the wheel holds, such as Path(__file__).parent / 'conf'",
            )
        return scratch.of_kind(), dirs

    def hook_of(self, namespace: str) -> Any:
        """The hooks of one plugin alone, so that an exception costs no other plugin."""
        others = [p for n, p in self.manager.list_name_plugin() if n != namespace and p is not None]
        return _Subset(self.manager, others)

    def call(self, hook: str, **arguments: Any) -> list[Any]:
        """Call a hook of every plugin, each alone; one that raises is named in a warning and skipped."""
        return self._each(hook, lambda result: [result], arguments)

    def objections(self, cell: Mapping[str, Any]) -> list[str]:
        """What plugins have against a cell; one that returns anything but sentences is skipped."""
        return self._each("matrixhub_check", _sentences, {"cell": cell})

    def _each(self, hook: str, read: Callable[[Any], list[Any]], arguments: Mapping[str, Any]) -> list[Any]:
        """What ``read`` makes of every plugin's result, a generator's body included in what may fail."""
        results: list[Any] = []
        for namespace in [impl.plugin_name for impl in getattr(self.manager.hook, hook).get_hookimpls()]:
            try:
                found = getattr(self.hook_of(namespace), hook)(**arguments)
                results += [one for result in found for one in read(result)]
            except (Exception, SystemExit) as error:  # a third party's fault costs no other plugin anything
                told = f"{hook} of the plugin '{namespace}' failed: {type(error).__name__}: {error}"
                if self.strict:
                    raise PluginError(f"{told}.") from error
                log.warning("%s", told)
        return results


@dataclass(frozen=True, slots=True)
class _Subset:
    manager: pluggy.PluginManager
    removed: Sequence[Any]

    def __getattr__(self, name: str) -> Any:
        return self.manager.subset_hook_caller(name, remove_plugins=self.removed)


def _sentences(result: Any) -> list[str]:
    """What ``matrixhub_check`` returned, as a list; a lone text is one sentence.

    Raises:
        TypeError: it is anything else.
    """
    if not isinstance(result, Iterable):
        raise TypeError(f"it returned {result!r}, not a list of sentences")
    found = [result] if isinstance(result, str) else list(result)
    if wrong := [one for one in found if not isinstance(one, str)]:
        raise TypeError(f"it returned {wrong[0]!r} among its sentences")
    return found


def _installed(distribution: Distribution | None) -> tuple[str, str]:
    """Name and version; the metadata is parsed anew each time it is asked for, so it is asked for once."""
    if distribution is None:
        return "?", "?"
    metadata = distribution.metadata
    return metadata["Name"], metadata["Version"]


def _taken(plugin: Plugin, first: Plugin) -> PluginError:
    """That the plugin's namespace is another's; nobody is told to be rid of MatrixHub itself."""
    or_else = f", or the other one: {first.distribution}"
    if first.namespace == CORE:
        or_else = f"; its author: choose another namespace, '{CORE}' is MatrixHub's"
    return PluginError(
        f"the namespace '{plugin.namespace}' is taken by another installed plugin",
        f"pip uninstall {plugin.distribution}{or_else}",
    )


def _refuse_misnamed(module: Any) -> None:
    """Refuse a hook that is misspelled, or lacks its mark: nobody would ever call it."""
    named = [n for n in dir(module) if n.startswith("matrixhub_") and callable(getattr(module, n))]
    if unknown := [n for n in named if not hasattr(hookspecs, n)]:
        raise PluginError(
            f"no hook is called {', '.join(unknown)}; see matrixhub.hookspecs for their names",
            f"its author: {unknown_name('hook', unknown[0], _hooks())}",
        )
    if unmarked := [n for n in named if not hasattr(getattr(module, n), "matrixhub_impl")]:
        raise PluginError(
            f"{', '.join(unmarked)} lacks the @hookimpl decorator",
            f"its author: write @hookimpl above def {unmarked[0]}",
        )


def _hooks() -> list[str]:
    return [name for name in vars(hookspecs) if name.startswith("matrixhub_")]


def discover(allowed: Iterable[str] | None = None, *, strict: bool = False) -> Hub:
    """Load every installed plugin that is allowed.

    Args:
        allowed: namespaces; None for all. The core's own components are always loaded.
        strict: a plugin's fault raises.

    Raises:
        PluginError: a plugin has a fault, and ``strict`` is set.
    """
    hub = Hub(strict=strict)
    found = entry_points(group=GROUP)
    # The core first, so that no plugin can take its namespace; then by name, for a stable order.
    for entry_point in sorted(found, key=lambda e: (e.value != CORE_TARGET, e.name, e.value)):
        if allowed is None or entry_point.name in {CORE, *allowed}:
            hub.load(entry_point)
    installed = {entry_point.name for entry_point in found}
    hub.unknown = [
        unknown_name(f"plugin in {ALLOWLIST}", name, installed)
        for name in allowed or ()
        if name not in installed
    ]
    return hub


@functools.cache
def _discover_for(allowlist: str | None, strict: bool) -> Hub:
    # Also right for a plugin installed since the process began (a notebook).
    importlib.invalidate_caches()
    allowed = None if allowlist is None else [n.strip() for n in allowlist.split(",") if n.strip()]
    hub = discover(allowed, strict=strict)
    doubts = [
        f"The plugin '{p.namespace}' ({p.distribution}): {text}" for p in hub.plugins for text in p.warnings
    ]
    # Of several ranks, the first speaks for all.
    for sentence in [*hub.unknown, *doubts] if os.environ.get("RANK", "0") == "0" else ():
        log.warning("%s", sentence)
    return hub


def hub() -> Hub:
    """The plugins of this process, loaded once.

    ``MATRIXHUB_PLUGINS=a,b`` allows these namespaces only; ``MATRIXHUB_STRICT=1``: a plugin's fault raises.
    """
    return _discover_for(os.environ.get(ALLOWLIST), os.environ.get(STRICT, "") not in ("", "0"))


def forget() -> None:
    """Look anew for installed plugins when they are next asked for."""
    _discover_for.cache_clear()
