"""Hydra groups and their options: which there are, and what is wrong with the way one was typed."""

from collections.abc import Iterable, Sequence

from hydra._internal.config_loader_impl import ConfigLoaderImpl
from hydra.core.object_type import ObjectType
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override

from matrixhub.errors import ConfigError, UnknownNameError
from matrixhub.homes import HOMES
from matrixhub.plugins import hub

FROM_PLUGINS = ("encoder/text", "encoder/image", "head", "generator")
"""Groups whose options all come with plugins."""

SEVERAL = ("product/transform", "callback")
"""Groups of which any number are chosen, in an order."""


def all_groups(loader: ConfigLoaderImpl) -> set[str]:
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


def unknown_option(group: str, name: str, options: Iterable[str]) -> UnknownNameError:
    """The error for an option that is not there, and why it may be missing."""
    if absent := hub().absent(group, name):
        return UnknownNameError(group, name, (), absent)
    known = set(options)
    # A full name and its alias are one option: show the form that was typed.
    shown = {o for o in known if "." in o} if "." in name else each_once(known)
    error = UnknownNameError(group, name, shown or known, hub().fault_of(name))
    if hub().fault_of(name) or "Did you mean" in str(error):
        return error
    homes = sorted(HOMES[group].keys() - hub().distributions) if group in FROM_PLUGINS else ()
    hint = f"More come with: pip install {' '.join(homes)}." if homes else ""
    if not known:
        hint = f"No installed plugin has one. {hint}".rstrip()
    return UnknownNameError(group, name, shown or known, hint)


def each_once(options: Iterable[str]) -> list[str]:
    """Options without the full names of those that have an alias."""
    known = set(options)
    return sorted(o for o in known if "." not in o or o.rpartition(".")[2] not in known)


def misused_group(overrides: Sequence[str], loader: ConfigLoaderImpl) -> ConfigError | None:
    """What is wrong with a group that was given something other than one name, where one was."""
    groups = all_groups(loader)
    for override in OverridesParser.create().parse_overrides(list(overrides)):
        if override.is_delete() or override.is_sweep_override():
            continue
        if not override.key_or_group:
            return ConfigError(f"'{override.input_line}' is not an override: write KEY=VALUE.")
        if override.key_or_group in groups:
            options = loader.get_group_options(override.key_or_group, ObjectType.CONFIG)
            if text := _misuse(override, groups, options):
                return ConfigError(text)
    return None


def _misuse(override: Override, groups: set[str], options: Iterable[str]) -> str:
    group, typed = override.key_or_group, override.input_line
    below = sorted(g for g in groups if g.startswith(f"{group}/"))
    match override.value():
        case None if group in SEVERAL:
            return f"'{typed}': to leave them out, type {group}=[]."
        case list() | str() if group in SEVERAL:
            return ""
        case None if group == "product":
            return f"'{typed}': choose one, {group}=NAME. Allowed: {', '.join(sorted(options))}."
        case None:
            return f"'{typed}': to leave {group} out, type ~{group}."
        case list():
            return f"'{typed}': choose one; to sweep over several, type -m {group}=NAME,NAME."
        case dict():
            return ""
        case str() if group == "encoder":
            return (
                f"'{typed}': choose an encoder by what it reads: {' or '.join(f'{g}=NAME' for g in below)}."
            )
        case str():
            return ""
        case _:
            return str(unknown_option(group, str(override.value()), options))
