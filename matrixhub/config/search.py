"""How plugins' options enter Hydra: one config source that answers from the registry.

It lists options without building them and makes the typed node of the one that is chosen, so five
hundred installed components cost a compose nothing. No plugin is imported for its configs: preset
folders are plain ``file://`` paths.
"""

import dataclasses
from pathlib import Path
from typing import Any

from hydra._internal.config_search_path_impl import ConfigSearchPathImpl
from hydra._internal.core_plugins import structured_config_source
from hydra.core.object_type import ObjectType
from hydra.core.plugins import Plugins
from hydra.plugins.config_source import ConfigLoadError, ConfigResult, ConfigSource
from omegaconf import OmegaConf

from matrixhub.config import optuna
from matrixhub.config.groups import SEVERAL
from matrixhub.config.presets import conf_dir
from matrixhub.config.schema import RootConfig
from matrixhub.plugins import hub
from matrixhub.registry import Component

SCHEMA = "schema"
MODALITIES = "modalities"
SWEEPERS = "hydra/sweeper"
OPTUNA = f"{SWEEPERS}/{optuna.NAME}"


def named_schema(component: Component) -> type:
    """The component's config dataclass with its registry name as one more field."""
    return dataclasses.make_dataclass(
        component.config.__name__, [("name", str, component.name)], bases=(component.config,), kw_only=True
    )


class RegistrySource(ConfigSource):
    """Options of installed components, the root schema, one default encoder for each modality, a sweeper."""

    @staticmethod
    def scheme() -> str:
        return "matrixhub"

    def __deepcopy__(self, memo: dict[int, Any]) -> "RegistrySource":
        return self

    def available(self) -> bool:
        return True

    def is_group(self, config_path: str) -> bool:
        return not config_path or any(f"{g}/".startswith(f"{config_path}/") for g in (*_groups(), SWEEPERS))

    def is_config(self, config_path: str) -> bool:
        return config_path in (SCHEMA, MODALITIES, OPTUNA) or self._component(config_path) is not None

    def list(self, config_path: str, results_filter: ObjectType | None) -> list[str]:
        registry = hub().registry
        names: set[str] = set()
        if results_filter in (None, ObjectType.CONFIG):
            names |= set(registry.group_options(config_path)) | (
                {optuna.NAME} & {OPTUNA.removeprefix(f"{config_path}/")}
            )
        if results_filter in (None, ObjectType.GROUP):
            below = f"{config_path}/" if config_path else ""
            names |= {g[len(below) :].partition("/")[0] for g in _groups() if g.startswith(below)}
        return sorted(names)

    def load_config(self, config_path: str) -> ConfigResult:
        if config_path == SCHEMA:
            node = OmegaConf.structured(RootConfig)
        elif config_path == MODALITIES:
            node = OmegaConf.create({"defaults": _only_encoders()})
        elif config_path == OPTUNA:
            node = OmegaConf.structured(optuna.OptunaConfig)
        elif component := self._component(config_path):
            node = OmegaConf.structured(named_schema(component))
        else:
            raise ConfigLoadError(f"Config not found: {config_path}")
        return ConfigResult(
            provider=self.provider,
            path=f"{self.scheme()}://{config_path}",
            config=node,
            header={"package": _package(config_path)},
        )

    @staticmethod
    def _component(config_path: str) -> Component | None:
        group, _, option = config_path.rpartition("/")
        return hub().registry.group_options(group).get(option) if group else None


class StructuredConfigSource(structured_config_source.StructuredConfigSource):
    """Hydra's ConfigStore, its own nodes only: another application's must not meet ours of the same name.

    Hydra wants a source of this class name to be the last.
    """

    @staticmethod
    def scheme() -> str:
        return "matrixhub-hydra"

    def is_group(self, config_path: str) -> bool:
        return _is_hydras(config_path) and super().is_group(config_path)

    def is_config(self, config_path: str) -> bool:
        return _is_hydras(config_path) and super().is_config(config_path)

    def load_config(self, config_path: str) -> ConfigResult:
        if not _is_hydras(config_path):
            raise ConfigLoadError(f"Config not found: {config_path}")
        return super().load_config(config_path)

    def list(self, config_path: str, results_filter: ObjectType | None) -> list[str]:
        found = super().list(config_path, results_filter)
        return [name for name in found if _is_hydras(f"{config_path}/{name}".lstrip("/"))]


def _is_hydras(config_path: str) -> bool:
    return config_path in ("", "hydra") or config_path.startswith("hydra/")


def _groups() -> set[str]:
    """Groups of components; those that are there without any are in the defaults list."""
    return {*hub().registry.groups, *SEVERAL}


def _package(config_path: str) -> str | None:
    """Where an option lands: in the group's node, or in one of its own where several may be chosen."""
    group, _, option = config_path.rpartition("/")
    options = hub().registry.group_options(group)
    if group not in SEVERAL or option not in options:
        return None
    component = options[option]
    name = component.alias if component.alias in options else component.name.replace(".", "_")
    return f"{group.replace('/', '.')}.{name}"


def _only_encoders() -> list[Any]:
    """Defaults for modalities that ``conf/config.yaml`` does not know: their encoder, where there is one."""
    known = ("encoder/text", "encoder/image")
    registry = hub().registry
    defaults: list[Any] = []
    for group in sorted(g for g in registry.groups if g.startswith("encoder/") and g not in known):
        members = {c.name for c in registry.group_options(group).values()}
        defaults.append({f"/{group}": members.pop() if len(members) == 1 else None})
    return defaults


def _address(folder: Path) -> str:
    # Hydra takes what follows the scheme as it stands: a path's own URI would hold %20 for a space.
    return f"file://{folder.resolve()}"


def search_path(config_dirs: list[Path]) -> ConfigSearchPathImpl:
    """Where names are looked up: the user's folders, the shipped conf, the plugins' presets, the registry."""
    Plugins.instance().register(RegistrySource)
    Plugins.instance().register(StructuredConfigSource)
    path = ConfigSearchPathImpl()
    path.append("hydra", "pkg://hydra.conf")
    for folder in config_dirs:
        path.append("user", _address(folder))
    # Before the plugins: one adds options, and replaces none that everybody has.
    path.append("main", _address(conf_dir()))
    for folder in hub().config_dirs:
        path.append("plugin", _address(folder))
    path.append("registry", f"{RegistrySource.scheme()}://")
    path.append("schema", f"{StructuredConfigSource.scheme()}://")
    return path
