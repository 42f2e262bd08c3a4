"""Refuses what Hydra lets through, so that nothing that was typed is ever ignored."""

import dataclasses
from collections.abc import Iterable

from hydra._internal.config_loader_impl import ConfigLoaderImpl
from hydra.core.object_type import ObjectType
from omegaconf import DictConfig, OmegaConf

from matrixhub.config.groups import FROM_PLUGINS, SEVERAL, unknown_option
from matrixhub.config.messages import unknown_key
from matrixhub.errors import ConfigError


def refuse_unknown(config: DictConfig, typed: Iterable[str], loader: ConfigLoaderImpl) -> None:
    """Refuse ``+key`` into a typed node, and an unknown option of an optional group.

    Args:
        config: composed.
        typed: the overrides that were asked for.
        loader: knows the options.

    Raises:
        ConfigError: with the nearest names.
    """
    for override in typed:
        group, _, option = override.lstrip("+").partition("=")
        known_group = group in FROM_PLUGINS or loader.repository.group_exists(group)
        # Of several, Hydra itself refuses the unknown ones: these groups are not optional.
        if override.startswith("~") or not known_group or option.startswith("{") or group in SEVERAL:
            continue
        if not loader.repository.config_exists(f"{group}/{option}"):
            raise unknown_option(group, option, loader.get_group_options(group, ObjectType.CONFIG))
    _refuse_extra_keys(config, "")


def _refuse_extra_keys(node: DictConfig, prefix: str) -> None:
    kind = OmegaConf.get_type(node)
    fields = {f.name for f in dataclasses.fields(kind)} if dataclasses.is_dataclass(kind) else None
    for key in node:
        path = f"{prefix}{key!s}"
        if fields is not None and key not in fields:
            raise ConfigError(unknown_key(path, fields))
        child = node._get_node(key)
        if isinstance(child, DictConfig) and not child._is_none() and not child._is_missing():
            _refuse_extra_keys(child, f"{path}.")
