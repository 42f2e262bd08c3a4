"""Components as plain modules, for people who write their own loop."""

import functools
from typing import Any

from matrixhub.errors import ConfigError, unknown_name
from matrixhub.plugins import hub
from matrixhub.run.encode import encode
from matrixhub.run.model import build


def create_component(kind: str, name: str, **options: Any) -> Any:
    """Build a component; see ``matrixhub.create``."""
    import dataclasses

    component = hub().component(kind, name)
    fields = {f.name for f in dataclasses.fields(component.config)}
    supplied = {"dim", "target", "dims"}
    for key in options:
        if key not in fields | supplied:
            raise ConfigError(unknown_name(f"option of {component.name}", key, fields))
    defaults = dataclasses.asdict(component.config())
    for key, value in defaults.items():
        if value == "???" and key not in options:
            raise ConfigError(f"{component.name} needs {key}=…; see: matrixhub show {component.name}")
    module = build(kind, {"name": component.name, **defaults, **options})
    if kind == "encoder" and not hasattr(module, "encode"):
        module.encode = functools.partial(encode, module)
    return module
