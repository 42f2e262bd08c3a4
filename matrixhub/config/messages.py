"""Hydra's and OmegaConf's errors, said again for the person who typed the override."""

import dataclasses
import difflib
from collections.abc import Iterable, Sequence

from hydra._internal.config_loader_impl import ConfigLoaderImpl
from hydra.core.object_type import ObjectType
from hydra.errors import MissingConfigException, OverrideParseException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException, ValidationError

from matrixhub.errors import ConfigError, MatrixHubError, UnknownNameError, unknown_name
from matrixhub.plugins import hub


def explain(error: Exception, overrides: Sequence[str], loader: ConfigLoaderImpl) -> MatrixHubError:
    """The ConfigError to raise in place of a Hydra or OmegaConf exception."""
    cause = error if isinstance(error, OmegaConfBaseException) else error.__cause__
    if isinstance(error, MissingConfigException) and error.missing_cfg_file:
        return _no_option(error.missing_cfg_file, error.options or ())
    if isinstance(error, OverrideParseException):
        return _unparsed(error)
    if isinstance(cause, ValidationError):
        return ConfigError(f"{_key_of(cause, overrides)}: {str(cause).splitlines()[0]}.")
    if isinstance(cause, OmegaConfBaseException) and cause.full_key:
        return _no_key(cause, loader)
    first, *rest = str(error).splitlines()
    if first.startswith("You must specify"):
        group = first.split("'")[1]
        return ConfigError(
            f"Choose a {group}: {group}=NAME. Allowed: {', '.join(r.strip() for r in rest[1:])}."
        )
    if first.startswith("Ambiguous value"):
        typed = first.split("'")[1]
        return ConfigError(
            f"'{typed}' names several values: add -m to sweep over them, or write [a,b] for a list."
        )
    return ConfigError(" ".join([first, *(r.strip() for r in rest)]))


def _unparsed(error: OverrideParseException) -> ConfigError:
    override = str(error.override)
    if "=" not in override:
        return ConfigError(
            f"'{override}' is not an override: write KEY=VALUE, such as product=news or trainer.lr=3e-4."
        )
    reason = error.message.splitlines()[0]
    return ConfigError(
        f"'{override}' cannot be read ({reason}): quote values that hold , = [ ] {{ }} or spaces."
    )


def _no_option(path: str, options: Iterable[str]) -> MatrixHubError:
    group, _, name = path.rpartition("/")
    return UnknownNameError(group, name, options, hub().fault_of(name))


def _no_key(cause: OmegaConfBaseException, loader: ConfigLoaderImpl) -> ConfigError:
    key = str(cause.full_key)
    if "/" in key or key in _groups(loader):
        hint = f"To choose an option of a group, type {key}=NAME where the group is one of these."
        return UnknownNameError("config group", key, _groups(loader), hint if "/" in key else "")
    parent = cause.parent_node
    siblings = [str(k) for k in parent] if isinstance(parent, DictConfig) else []
    prefix, _, last = key.rpartition(".")
    allowed = {f"{prefix}.{name}" if prefix else name for name in siblings} - {"hydra"}
    if not prefix:
        allowed |= _groups(loader)
    text = unknown_name("key", key, allowed)
    if "Did you mean" not in text and prefix in ("product.inputs", "product.outputs"):
        text += f" To add one: +{prefix}.{last}.FIELD=VALUE."
    return ConfigError(text)


def _groups(loader: ConfigLoaderImpl) -> set[str]:
    """Every group of options, nested ones too."""
    found: set[str] = set()

    def walk(parent: str) -> None:
        for name in loader.get_group_options(parent, ObjectType.GROUP):
            group = f"{parent}/{name}" if parent else name
            if group == "hydra":
                continue
            found.add(group)
            walk(group)

    walk("")
    return found


def _key_of(cause: OmegaConfBaseException, overrides: Sequence[str]) -> str:
    key = str(cause.full_key or "")
    typed = [o for o in overrides if o.lstrip("+~").partition("=")[0].endswith(key)]
    return typed[0] if len(typed) == 1 else key


def refuse_unknown(config: DictConfig, typed: Iterable[str], loader: ConfigLoaderImpl) -> None:
    """Refuse what Hydra lets through: ``+key`` into a typed node, an unknown option of an optional group.

    Args:
        config: composed.
        typed: the overrides that were asked for.
        loader: knows the options.

    Raises:
        ConfigError: with the nearest names.
    """
    for override in typed:
        group, _, option = override.lstrip("+").partition("=")
        known_group = group in _HOMES or loader.repository.group_exists(group)
        if option == "null" or override.startswith("~") or not known_group:
            continue
        if not loader.repository.config_exists("/".join((group, option))):
            options = loader.get_group_options(group, ObjectType.CONFIG)
            raise UnknownNameError(group, option, options, hub().fault_of(option) or _install_hint(group))
    _refuse_extra_keys(config, "")


_HOMES = {"encoder/text": "matrixhub-text", "encoder/image": "matrixhub-vision", "head": "matrixhub-heads"}
"""Groups whose options all come with plugins, and the first-party plugin of each."""


def _install_hint(group: str) -> str:
    home = _HOMES.get(group)
    return f"Options come with plugins: pip install {home}." if home else ""


def _refuse_extra_keys(node: DictConfig, prefix: str) -> None:
    kind = OmegaConf.get_type(node)
    fields = {f.name for f in dataclasses.fields(kind)} if dataclasses.is_dataclass(kind) else None
    for key in node:
        path = f"{prefix}{key!s}"
        if fields is not None and key not in fields:
            near = difflib.get_close_matches(str(key), fields, n=1)
            hint = (
                f" Did you mean '{prefix}{near[0]}'?" if near else f" Allowed: {', '.join(sorted(fields))}."
            )
            raise ConfigError(f"Unknown key '{path}'.{hint}")
        child = node._get_node(key)
        if isinstance(child, DictConfig) and not child._is_none() and not child._is_missing():
            _refuse_extra_keys(child, f"{path}.")
