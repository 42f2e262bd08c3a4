"""What to do about a plugin that was set aside, and what is doubtful about one that works."""

import importlib.util
import inspect
import re
import sys
import traceback
from collections import defaultdict
from collections.abc import Iterable, Sequence
from importlib.metadata import PackageNotFoundError, requires
from pathlib import Path
from typing import TYPE_CHECKING

from pluggy import PluginValidationError

from matrixhub import hookspecs
from matrixhub.errors import PluginError

if TYPE_CHECKING:
    from matrixhub.registry import Component

BOUNDS = ("<", "<=", "==", "===", "~=")
"""Operators of a requirement that keep a version from being too new."""


def cure(error: BaseException, distribution: str, module: str) -> str:
    """What its author has to write, or else its user to type.

    Args:
        error: what importing it, or a module of its components, raised.
        distribution: its pip name.
        module: that its entry point, or its component, names.
    """
    if isinstance(error, PluginError) and error.cure:
        return error.cure
    if isinstance(error, PluginValidationError):
        return _parameters(error)
    if isinstance(error, ModuleNotFoundError) and error.name:
        return _absent(error.name, distribution, module)
    place = _place(error, module)
    return f"pip install --upgrade {distribution}; its author: mend {place}"


def _absent(name: str, distribution: str, module: str) -> str:
    """For a module that is not there; its name is not always what pip calls its package."""
    top = name.partition(".")[0]
    if top == module.partition(".")[0]:
        return f"pip install --force-reinstall {distribution}: its module {name} is not there"
    if top == "matrixhub":
        return f"pip install --upgrade matrixhub {distribution}: they are not of one age, {name} is not there"
    return (
        f"pip install --force-reinstall {distribution}; if {top} is still missing, its requirements lack it;"
        f" its author: add the package that holds {top} to dependencies in pyproject.toml"
    )


def _parameters(error: PluginValidationError) -> str:
    """The hook as it is, for an implementation of it that takes something else."""
    named = re.search(r"hook '(\w+)'", str(error))
    if named is None or not hasattr(hookspecs, named[1]):
        return "its author: compare its hooks with matrixhub.hookspecs"
    parameters = ", ".join(inspect.signature(getattr(hookspecs, named[1])).parameters)
    return f"its author: {named[1]}({parameters}) is the hook; take some of these, by these names"


def _place(error: BaseException, module: str) -> str:
    """The line to look at: the deepest one in the plugin's own package, as far as can be told."""
    if isinstance(error, SyntaxError) and error.filename:
        return f"{Path(error.filename).name}, line {error.lineno}"
    top = module.partition(".")[0]
    frames = [f for f in traceback.extract_tb(error.__traceback__) if _is_of(f.filename, top)]
    return f"{Path(frames[-1].filename).name}, line {frames[-1].lineno}" if frames else f"the module {module}"


def _is_of(filename: str, package: str) -> bool:
    path = Path(filename)
    return path.stem == package or package in path.parent.parts


def requirement_warning(distribution: str) -> str:
    """A sentence on its requirement of ``matrixhub``, where a version it was not written for would do."""
    from packaging.requirements import InvalidRequirement, Requirement

    try:
        found = [Requirement(text) for text in requires(distribution) or ()]
    except (PackageNotFoundError, InvalidRequirement):
        found = []
    ours = [one for one in found if one.name.lower() == "matrixhub"]
    if any(part.operator in BOUNDS for one in ours for part in one.specifier):
        return ""
    what = f"its requirement '{ours[0]}' has no upper bound" if ours else "it does not require matrixhub"
    return f'{what}; its author: write dependencies = ["matrixhub>=0.1,<0.2"] in pyproject.toml'


def shared_aliases(components: Iterable["Component"]) -> dict[str, list[str]]:
    """For each namespace, a sentence on every short name that another plugin uses in the same group."""
    homes: dict[tuple[str, str], list[Component]] = defaultdict(list)
    for component in components:
        for group in component.groups:
            homes[group, component.alias].append(component)
    found: dict[str, list[str]] = defaultdict(list)
    for (group, alias), several in homes.items():
        for component in several if len(several) > 1 else ():
            others = [other.name for other in several if other is not component]
            found[component.namespace].append(_shared(f"{group}={alias}", component.name, others))
    return found


def _shared(short: str, name: str, others: Sequence[str]) -> str:
    return f"'{short}' is short for {' and '.join(others)} too; write {name} in full"


def missing_modules(components: Iterable["Component"]) -> dict[str, list[str]]:
    """For each namespace, a sentence on every module of its components that is not there."""
    found: dict[str, list[str]] = defaultdict(list)
    names: dict[tuple[str, str], list[str]] = defaultdict(list)
    for component in components:
        names[component.namespace, component.target.partition(":")[0]].append(component.name)
    for (namespace, module), several in names.items():
        if absence := _absence(module):
            found[namespace].append(f"{' and '.join(several)} cannot be built: {absence}")
    return found


def _absence(module: str) -> str:
    """Why a module cannot be found, if so; only the packages above it are imported."""
    try:
        there = module in sys.modules or importlib.util.find_spec(module)
    except (Exception, SystemExit) as error:  # whatever a package of a third party raises
        return f"{type(error).__name__}: {error}"
    return "" if there else f"the module {module} is not there"
