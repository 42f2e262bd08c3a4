"""Components as plain modules, for people who write their own loop."""

import dataclasses
import functools
from typing import Any

from matrixhub.errors import ConfigError, unknown_name
from matrixhub.plugins import hub
from matrixhub.run.encode import encode
from matrixhub.run.model import build

SUPPLIED = {"fusion": ("dims",), "head": ("dim", "target")}
"""What the core gives a factory beside its options; here the caller does."""


def create_component(kind: str, name: str, **options: Any) -> Any:
    """Build a component; see ``matrixhub.create``."""
    component = hub().component(kind, name)
    fields = {f.name for f in dataclasses.fields(component.config)}
    supplied = SUPPLIED.get(kind, ())
    for key in options:
        if key not in fields and key not in supplied:
            raise ConfigError(unknown_name(f"option of {component.name}", key, fields.union(supplied)))
    given = {**dataclasses.asdict(component.config()), **options}
    for key in (*fields, *supplied):
        if given.get(key, "???") == "???" and key in (*supplied, *given):
            raise ConfigError(f"{component.name} needs {key}=…; see: matrixhub show {component.name}")
    module = build(kind, {"name": component.name, **given})
    if kind == "encoder" and not hasattr(module, "encode"):
        module.encode = functools.partial(encode, module)
    return module
