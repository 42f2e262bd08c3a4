"""Checks of a component as it was registered: its target, its options, its place in Hydra."""

import dataclasses
import inspect
import json
from typing import Any, get_type_hints

from matrixhub.errors import MatrixHubError
from matrixhub.testing.check import COMPONENT, MODULES, check, fail
from matrixhub.testing.exercises import exercise_of
from matrixhub.testing.subject import ComponentSubject, told
from matrixhub.testing.watch import watching


@check(COMPONENT, needs=("loads",))
def target_resolves(subject: ComponentSubject) -> None:
    """The string that names its factory leads to something that can be called.

    Mend: write "pkg.module:factory" as it would be imported, and install what that module imports.
    """
    if subject.component.kind in MODULES:
        import torch  # noqa: F401  before watching: what this import does is not the component's doing
    try:
        with watching(subject.seen):
            factory = subject.component.factory()
    except Exception as error:  # a module may raise anything
        fail(f"'{subject.component.target}' cannot be imported: {told(error.__cause__ or error)}")
    if not callable(factory):
        fail(f"'{subject.component.target}' is a {type(factory).__name__}, which cannot be called")


@check(COMPONENT, needs=("loads",))
def options_are_typed(subject: ComponentSubject) -> None:
    """Its config is a dataclass whose fields have types that Hydra knows, and a default each (``MISSING`` for
    what the user must fill in), so that a wrong value is refused before any work.

    Mend: use str, int, float, bool, list[...], dict[str, ...], Any or ``X | None``; give each field a
    default.
    """
    from omegaconf import OmegaConf

    config = subject.component.config
    bare = [
        f.name for f in dataclasses.fields(config)
        if f.default is dataclasses.MISSING and f.default_factory is dataclasses.MISSING
    ]  # fmt: skip
    if bare:
        fail(f"{config.__name__} has no default for {', '.join(bare)}")
    try:
        get_type_hints(config)
        OmegaConf.structured(config)
    except Exception as error:  # omegaconf's errors have no common parent with those of type hints
        fail(f"{config.__name__} is nothing that Hydra can type: {_first_line(error)}")


@check(COMPONENT, needs=("options_are_typed",))
def options_are_documented(subject: ComponentSubject) -> None:
    """The config has a docstring, and each field a string below it: ``matrixhub list`` and ``matrixhub show``
    print them, and are all the help a user gets on the command line.

    Mend: write a line under the class statement, and one under each field.
    """
    from matrixhub.config.describe import describe

    config = subject.component.config
    if not config.__doc__ or config.__doc__.startswith(f"{config.__name__}("):
        fail(f"{config.__name__} has no docstring")
    if silent := [option.name for option in describe(config) if not option.doc]:
        fail(f"{config.__name__} says nothing about {', '.join(silent)}")


@check(COMPONENT, needs=("target_resolves", "options_are_typed"))
def options_match_factory(subject: ComponentSubject) -> None:
    """The factory takes every field of the config as a keyword, and needs nothing beyond them and what the
    core supplies (``dims`` to a fusion, ``dim`` and ``target`` to a head).

    Mend: give the factory and the config the same names; keyword-only parameters make it plain.
    """
    supplied = exercise_of(subject.component, "classification", {}).supplied
    fields = {f.name for f in dataclasses.fields(subject.component.config)}
    parameters = _parameters(subject)
    takes_any = any(p.kind is p.VAR_KEYWORD for p in parameters)
    named = {p.name for p in parameters if p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY)}
    if not takes_any and (lost := sorted({*fields, *supplied} - named)):
        fail(f"the factory takes no {', '.join(lost)}; it takes {', '.join(sorted(named)) or 'nothing'}")
    given = fields | set(supplied)
    needed = [
        p.name for p in parameters
        if p.default is p.empty and p.kind not in (p.VAR_KEYWORD, p.VAR_POSITIONAL) and p.name not in given
    ]  # fmt: skip
    if needed:
        fail(f"the factory needs {', '.join(needed)}, which the config has no field for")


@check(COMPONENT, needs=("options_are_typed",))
def options_round_trip(subject: ComponentSubject) -> None:
    """Its default options, written as YAML and as JSON and read again, are the same: a preset and an artifact
    keep them that way.

    Mend: hold plain values only (text, numbers, booleans, lists, tables of these), and name other things by a
    word.
    """
    from omegaconf import OmegaConf

    typed = OmegaConf.structured(subject.component.config)
    plain: Any = OmegaConf.to_container(typed)
    try:
        through_json = json.loads(json.dumps(plain))
        again: Any = OmegaConf.to_container(
            OmegaConf.merge(typed, OmegaConf.create(OmegaConf.to_yaml(typed)))
        )
    except Exception as error:  # yaml, json and omegaconf each have errors of their own
        fail(f"its default options cannot be written as plain data: {_first_line(error)}")
    for how, found in (("JSON", through_json), ("YAML", again)):
        for name, value in plain.items():
            if found.get(name) != value:
                fail(f"{name} is {value!r}, and {found.get(name)!r} after being written as {how}")


@check(COMPONENT, needs=("options_match_factory",))
def composes(subject: ComponentSubject) -> None:
    """Hydra composes a config that chooses it, with every option at its default, and refuses a key that it
    has not.

    Mend: look for an interpolation (${...}) among the defaults, or a preset of the same name that is not
    right.
    """
    from matrixhub.config.compose import Composer

    composer, component = Composer(), subject.component
    expected = {"name": component.name, **dataclasses.asdict(component.config())}
    for group in component.groups:
        several = component.kind in ("transform", "callback")
        chosen = [*_PRODUCT, f"{group}={f'[{component.name}]' if several else component.name}"]
        path = [*group.split("/"), *([component.alias] if several else [])]
        try:
            node: Any = composer.compose(chosen).config
            for name in path:
                node = node[name]
        except (MatrixHubError, KeyError, TypeError) as error:
            fail(f"{' '.join(chosen[-1:])} does not compose: {_first_line(error)}")
        if node != expected:
            wrong = [key for key in expected if node.get(key) != expected[key]]
            fail(f"{chosen[-1]} composes to other defaults: {', '.join(wrong)}")
        try:
            composer.compose([*chosen, f"+{'.'.join(path)}.no_such_option=1"])
        except MatrixHubError:
            continue
        fail(f"{chosen[-1]} accepts the key no_such_option, which its config has no field for")


_PRODUCT = ("product=text",)


def _parameters(subject: ComponentSubject) -> list[inspect.Parameter]:
    try:
        return list(inspect.signature(subject.component.factory()).parameters.values())
    except (TypeError, ValueError):
        fail(f"the parameters of '{subject.component.target}' cannot be seen: make it a function or class")


def _first_line(error: BaseException) -> str:
    return next(iter(str(error).strip().splitlines()), type(error).__name__)
