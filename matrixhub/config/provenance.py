"""Where each value of a config came from: Hydra's own steps of composing, one by one, watched.

Hydra merges the files and schemas of its defaults list in order, then what was typed; the last one that sets
a value is where it came from.
"""

import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml  # type: ignore[import-untyped]
from hydra.plugins.config_source import ConfigResult
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf

from matrixhub.config.compose import CONFIG_NAME, Composer
from matrixhub.config.messages import COMPOSE_FAULTS
from matrixhub.config.search import RegistrySource

Keys = tuple[str, ...]
"""From the root to a value. A list is one value."""


def provenance(composer: Composer, overrides: Sequence[str]) -> dict[Keys, str]:
    """Who set each value of the config that ``composer.compose`` gives; see ``source_of``.

    Raises:
        ConfigError: as ``Composer.compose``.
    """
    found: dict[Keys, str] = {}
    with composer.explained(overrides, COMPOSE_FAULTS):
        loader = composer.loader
        defaults = loader.compute_defaults_list(CONFIG_NAME, list(overrides), RunMode.RUN)
        for default in defaults.defaults:
            name = str(default.config_path)
            if not name.startswith("hydra/"):
                loaded = loader._load_single_config(default, loader.repository)
                _note(found, _values(loaded.config), _home(name, loaded))
        for override in defaults.config_overrides:
            keys = tuple(override.key_or_group.split("."))
            typed = OmegaConf.create({"value": override.value()})
            below = ((keys + rest[1:], waits) for rest, waits in _values(typed))
            _note(found, below, f"typed: {override.input_line}")
    return found


def source_of(keys: Keys, found: Mapping[Keys, str]) -> str:
    """Where a value came from; one that nobody set came with the node that it is in."""
    while keys and keys not in found:
        keys = keys[:-1]
    return found.get(keys, "")


def annotated(config: Mapping[str, Any], found: Mapping[Keys, str]) -> str:
    """The config as YAML, behind each value where it came from."""
    lines = list(_lines(config, found))
    width = min(60, max((len(text) for text, source in lines if source), default=0))
    return "\n".join(f"{text:<{width}}  # {source}" if source else text for text, source in lines)


def by_key(config: Mapping[str, Any], found: Mapping[Keys, str]) -> dict[str, dict[str, Any]]:
    """Value and source by dotted key."""
    return {
        ".".join(keys): {"value": value, "source": source_of(keys, found)} for keys, value in _flat(config)
    }


def _note(found: dict[Keys, str], values: Iterator[tuple[Keys, bool]] | Any, home: str) -> None:
    for keys, waits in values:
        if not waits or keys not in found:
            found[keys] = home


def _values(node: Any, keys: Keys = ()) -> Iterator[tuple[Keys, bool]]:
    """Values below a node, and whether each waits to be filled in: that leaves what is there already."""
    if not isinstance(node, DictConfig) or node._is_none() or node._is_missing() or node._is_interpolation():
        yield keys, node is not None and node._is_missing()
    elif not node:
        yield keys, True
    else:
        for key in node:
            yield from _values(node._get_node(key), (*keys, str(key)))


def _home(name: str, loaded: ConfigResult) -> str:
    """A file as people would look for it, or whose defaults they are."""
    if loaded.provider == "registry":
        component = RegistrySource._component(name)
        return f"default of {component.name if component else 'matrixhub'}"
    if loaded.provider == "main":
        return f"conf/{name}.yaml"
    folder = Path(str(loaded.path).removeprefix("file://"))
    shown = Path(folder.parent.name, folder.name) if loaded.provider == "plugin" else os.path.relpath(folder)
    return f"{shown}/{name}.yaml"


def _flat(config: Mapping[str, Any], above: Keys = ()) -> Iterator[tuple[Keys, Any]]:
    for key, value in config.items():
        if isinstance(value, Mapping) and value:
            yield from _flat(value, (*above, str(key)))
        else:
            yield (*above, str(key)), value


def _lines(
    config: Mapping[str, Any], found: Mapping[Keys, str], above: Keys = ()
) -> Iterator[tuple[str, str]]:
    indent = "  " * len(above)
    for key, value in config.items():
        keys = (*above, str(key))
        if isinstance(value, Mapping) and value:
            yield f"{indent}{_plain(key)}:", ""
            yield from _lines(value, found, keys)
        else:
            yield f"{indent}{_plain(key)}: {_plain(value)}", source_of(keys, found)


def _plain(value: Any) -> str:
    """On one line."""
    text: str = yaml.safe_dump(value, default_flow_style=True, allow_unicode=True, width=2**20)
    return text.removesuffix("...\n").strip()
