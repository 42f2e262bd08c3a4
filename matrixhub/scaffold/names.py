"""The names of a new plugin, and whether they are free."""

import importlib.util
import keyword
import re
import sys
from dataclasses import dataclass
from importlib.metadata import entry_points

from matrixhub.errors import ConfigError, PluginError
from matrixhub.plugins import GROUP

_NAME = re.compile(r"[a-z][a-z0-9]*([-_][a-z0-9]+)*")
_EXAMPLE = "such as acme or acme-words"


@dataclass(frozen=True, slots=True)
class Names:
    """What a plugin is called.

    Attributes:
        distribution: by pip.
        module: by import.
        namespace: in front of its components' names.
    """

    distribution: str
    module: str
    namespace: str


def names_of(name: str, namespace: str | None = None) -> Names:
    """The names that follow from one.

    Raises:
        ConfigError: one of them cannot be used in Python, or would hide a module of the standard library.
    """
    module = name.replace("-", "_")
    if not _NAME.fullmatch(name):
        raise ConfigError(f"'{name}' cannot be a plugin: use lower-case letters, digits and '-', {_EXAMPLE}.")
    namespace = module if namespace is None else namespace
    if not _NAME.fullmatch(namespace) or not namespace.isidentifier():
        raise ConfigError(f"--namespace {namespace}: use lower-case letters, digits and '_', such as acme.")
    for word in (module, namespace):
        if keyword.iskeyword(word):
            raise ConfigError(f"'{word}' is a word of Python's own: choose another name, {_EXAMPLE}.")
    if module in sys.stdlib_module_names:
        raise ConfigError(f"'{module}' is a module of Python's own: choose another name, {_EXAMPLE}.")
    return Names(name, module, namespace)


def check_free(names: Names) -> None:
    """Nothing installed is called so.

    Raises:
        PluginError: an installed plugin has the namespace, or an installed package the module's name.
    """
    for entry_point in entry_points(group=GROUP, name=names.namespace):
        home = entry_point.dist.name if entry_point.dist else entry_point.value
        raise PluginError(
            f"The namespace '{names.namespace}' is taken by {home}, which is installed: choose another name, "
            f"or --namespace NAME."
        )
    if importlib.util.find_spec(names.module) is not None:
        raise PluginError(f"A package '{names.module}' is installed: choose another name, {_EXAMPLE}.")
