"""Hydra's and OmegaConf's errors, said again for the person who typed the override."""

import dataclasses
import difflib
import re
from collections.abc import Iterable, Sequence

import yaml  # type: ignore[import-untyped]
from hydra._internal.config_loader_impl import ConfigLoaderImpl
from hydra.core.object_type import ObjectType
from hydra.errors import HydraException, MissingConfigException, OverrideParseException
from omegaconf import DictConfig
from omegaconf.errors import OmegaConfBaseException, ValidationError

from matrixhub.config import schema
from matrixhub.config.groups import all_groups, each_once, misused_group, unknown_option
from matrixhub.errors import ConfigError, MatrixHubError, UnknownNameError
from matrixhub.plugins import hub

NUM_SHOWN = 20
FAULTS: tuple[type[Exception], ...] = (HydraException, OmegaConfBaseException, yaml.YAMLError)
COMPOSE_FAULTS = (*FAULTS, ValueError, AssertionError)
"""Some faults of an override have no class of Hydra's own; only while composing are these its own."""


def explain(error: Exception, overrides: Sequence[str], loader: ConfigLoaderImpl) -> MatrixHubError:
    """The ConfigError to raise in place of what Hydra, OmegaConf or the YAML parser raised."""
    if isinstance(error, OverrideParseException):
        return _unparsed(error)
    if isinstance(error, yaml.YAMLError | UnicodeDecodeError):
        return _unreadable(error)
    if found := misused_group(overrides, loader):
        return found
    if isinstance(error, MissingConfigException) and error.missing_cfg_file:
        group, _, name = error.missing_cfg_file.rpartition("/")
        # Of one of several, Hydra does not tell what there is.
        return unknown_option(
            group, name, error.options or loader.get_group_options(group, ObjectType.CONFIG)
        )
    # Hydra names the YAML file it was reading, and leaves OmegaConf's error behind as the context.
    file = re.match(r"In '(.+)': \w+ raised while composing", str(error))
    place = f"{file[1]}.yaml: " if file else ""
    cause = error if isinstance(error, OmegaConfBaseException) else error.__cause__ or error.__context__
    if isinstance(cause, ValidationError):
        return ConfigError(f"{place}{_bad_value(cause, overrides)}")
    if isinstance(cause, OmegaConfBaseException) and cause.full_key:
        return ConfigError(f"{place}{_no_key(cause, overrides, loader)}")
    return ConfigError(_reworded(str(error)))


def _unparsed(error: OverrideParseException) -> ConfigError:
    override = str(error.override)
    if "=" not in override:
        return ConfigError(
            f"'{override}' is not an override: write KEY=VALUE, such as product=news or trainer.lr=3e-4."
        )
    return ConfigError(f"'{override}' cannot be read: quote values that hold , = [ ] {{ }} ( ) or spaces.")


def _unreadable(error: yaml.YAMLError | UnicodeDecodeError) -> ConfigError:
    if isinstance(error, yaml.MarkedYAMLError) and error.problem_mark:
        mark = error.problem_mark
        return ConfigError(f"{mark.name}, line {mark.line + 1}: not YAML ({error.problem}).")
    return ConfigError(f"A config file cannot be read: {error}.")


_PLAIN = (
    (r"could not be converted to Float", "not a number"),
    (r"could not be converted to Integer", "not a whole number"),
    (r"is not a valid bool", "not true or false"),
    (r"is not Optional", "null is not allowed"),
    (r"is not a ListConfig", "not a list: write [a,b]"),
    (r"Cannot convert '(?:list|dict)' to string", "takes a single value"),
)
"""What OmegaConf says, and what it means."""


def _bad_value(cause: ValidationError, overrides: Sequence[str]) -> str:
    text = str(cause).splitlines()[0]
    plain = next((said for pattern, said in _PLAIN if re.search(pattern, text)), text.rstrip("."))
    if wanted := re.search(r"is not a subclass of (\w+Config)", text):
        fields = dataclasses.fields(getattr(schema, wanted[1])) if hasattr(schema, wanted[1]) else ()
        keys = ", ".join(f"{f.name}: ..." for f in fields) or "KEY: VALUE"
        plain = f"takes a mapping, {{{keys}}}"
    key = str(cause.full_key or "")
    typed = [o for o in overrides if o.lstrip("+~").partition("=")[0] == key]
    added = [m for o in overrides if (m := re.match(r"\++(product\.(?:in|out)puts)\.(\w+)", o))]
    if wanted and added:
        return f"{added[0].string}: to add one, type {_addition(*added[0].groups())}."
    if len(typed) == 1:
        return f"{typed[0]}: {plain}."
    given = re.match(r"Value '(.*?)'", text)
    return ": ".join(filter(None, [key, f"'{given[1]}' is {plain}." if given else f"{plain}."]))


def _no_key(cause: OmegaConfBaseException, overrides: Sequence[str], loader: ConfigLoaderImpl) -> str:
    key = str(cause.full_key)
    groups = all_groups(loader)
    for group, _, option in (override.lstrip("+").partition("=") for override in overrides):
        if group == key and (absent := hub().absent(group, option)):
            return str(UnknownNameError(group, option, (), absent))
    if "/" in key:
        near = difflib.get_close_matches(key, groups, n=1)
        return str(UnknownNameError("config group", key, near or groups))
    if any(override.startswith(f"~{key}") for override in overrides):
        return f"'~{key}': a value cannot be left out, only set: {key}=VALUE."
    if (group := key.replace(".", "/")) in groups:
        options = ", ".join(each_once(loader.get_group_options(group, ObjectType.CONFIG)))
        return f"{key} has nothing to set yet: choose one of {group} first, {group}=NAME. Allowed: {options}."
    parent = cause.parent_node
    siblings = {str(k) for k in parent} - {"hydra"} if isinstance(parent, DictConfig) else set()
    text = unknown_key(key, siblings)
    prefix, _, last = key.rpartition(".")
    return f"{text} To add one: {_addition(prefix, last)}." if prefix in _ENTRIES else text


_ENTRIES = {
    "product.inputs": "column: COLUMN, modality: text",
    "product.outputs": "task: classification, target: COLUMN",
}
"""Mappings that grow: OmegaConf takes a new entry of theirs whole or not at all."""


def _addition(prefix: str, name: str) -> str:
    return f"'+{prefix}={{{name}: {{{_ENTRIES[prefix]}}}}}'"


def unknown_key(key: str, siblings: Iterable[str]) -> str:
    """A sentence on a key that is not there, with the nearest one beside it, or all when none is near."""
    prefix, dot, last = key.rpartition(".")
    names = sorted(siblings)
    if near := difflib.get_close_matches(last, names, n=1):
        return f"Unknown key '{key}'. Did you mean '{prefix}{dot}{near[0]}'?"
    shown = [*names[:NUM_SHOWN], *(["..."] if len(names) > NUM_SHOWN else [])]
    return f"Unknown key '{key}'. Allowed{' in ' + prefix if prefix else ''}: {', '.join(shown)}."


def _reworded(text: str) -> str:
    first, *rest = [line.strip() for line in text.splitlines()] or [""]
    named = re.search(r"'(.*?)'", first)
    if first.startswith("You must specify") and named:
        return f"Choose a {named[1]}: {named[1]}=NAME. Allowed: {', '.join(rest[1:])}."
    if first.startswith("Ambiguous value") and named:
        return f"'{named[1]}' names several values: add -m to sweep over them, or write [a,b] for a list."
    if first.startswith("Could not delete"):
        return f"'~{named[1] if named else ''}' leaves out what is not there."
    if chosen := re.match(r"Multiple values for ([\w/]+)\.", first):
        return f"{chosen[1]} is chosen already: type {chosen[1]}=NAME without '+'."
    if nested := re.match(r"In '(.+)': Could not override '([\w/]+)@", first):
        group = nested[2]
        return f"{nested[1]}.yaml: write 'override /{group}@_global_.{group.replace('/', '.')}: NAME'."
    # What else Hydra advises (to append, to add a plus) leads nowhere here.
    return re.split(r"\.? To append |\.? Did you mean to ", " ".join([first, *rest]))[0].rstrip(".") + "."
