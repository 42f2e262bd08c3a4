"""MatrixHub: one hub, many products.

Encoders, heads and data come as pip-installable plugins; Hydra overrides compose them into products; a
matrix of products is planned as one graph, and what two of them share is computed once.

Everything here is imported when it is first used, so ``import matrixhub`` costs next to nothing.
"""

import importlib
import sys
from types import ModuleType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from matrixhub.api import Run, create, list_components, load, plan, run
    from matrixhub.checkpoints import checkpoint_errors, hub_offline, resolve_checkpoint, weight_file
    from matrixhub.errors import (
        ArtifactError,
        CheckpointError,
        ConfigError,
        DataError,
        MatrixHubError,
        PluginError,
        TrainingError,
        UnsafeArtifactError,
    )
    from matrixhub.hookspecs import hookimpl
    from matrixhub.protocols import (
        Callback,
        Encoder,
        Fusion,
        Generator,
        HasBaseline,
        Head,
        Layered,
        LearnsToWrite,
        Processor,
        Register,
        SavesAssets,
        Source,
        Standardizes,
        Streams,
        TakesPrefix,
        Transform,
    )
    from matrixhub.types import (
        MISSING,
        PATH_FIELD,
        SPLIT_COLUMN,
        TASKS,
        UNTYPED_FIELD,
        Batch,
        Features,
        Generation,
        Prediction,
        Target,
    )

__version__ = "0.1.0"

_HOMES = {
    "matrixhub.api": ("Run", "create", "list_components", "load", "plan", "run"),
    "matrixhub.checkpoints": ("checkpoint_errors", "hub_offline", "resolve_checkpoint", "weight_file"),
    "matrixhub.errors": (
        "ArtifactError",
        "CheckpointError",
        "ConfigError",
        "DataError",
        "MatrixHubError",
        "PluginError",
        "TrainingError",
        "UnsafeArtifactError",
    ),
    "matrixhub.hookspecs": ("hookimpl",),
    "matrixhub.protocols": (
        "Callback",
        "Encoder",
        "Fusion",
        "Generator",
        "HasBaseline",
        "Head",
        "Layered",
        "LearnsToWrite",
        "Processor",
        "Register",
        "SavesAssets",
        "Source",
        "Standardizes",
        "Streams",
        "TakesPrefix",
        "Transform",
    ),
    "matrixhub.types": (
        "MISSING",
        "PATH_FIELD",
        "SPLIT_COLUMN",
        "TASKS",
        "UNTYPED_FIELD",
        "Batch",
        "Features",
        "Generation",
        "Prediction",
        "Target",
    ),
}
_HOME_OF = {name: home for home, names in _HOMES.items() for name in names}

# Written out, for type checkers do not compute it.
__all__ = [
    "MISSING",
    "PATH_FIELD",
    "SPLIT_COLUMN",
    "TASKS",
    "UNTYPED_FIELD",
    "ArtifactError",
    "Batch",
    "Callback",
    "CheckpointError",
    "ConfigError",
    "DataError",
    "Encoder",
    "Features",
    "Fusion",
    "Generation",
    "Generator",
    "HasBaseline",
    "Head",
    "Layered",
    "LearnsToWrite",
    "MatrixHubError",
    "PluginError",
    "Prediction",
    "Processor",
    "Register",
    "Run",
    "SavesAssets",
    "Source",
    "Standardizes",
    "Streams",
    "TakesPrefix",
    "Target",
    "TrainingError",
    "Transform",
    "UnsafeArtifactError",
    "checkpoint_errors",
    "create",
    "hookimpl",
    "hub_offline",
    "list_components",
    "load",
    "plan",
    "resolve_checkpoint",
    "run",
    "weight_file",
]


def __getattr__(name: str) -> Any:
    if name not in _HOME_OF:
        raise AttributeError(f"module 'matrixhub' has no attribute '{name}'")
    value = getattr(importlib.import_module(_HOME_OF[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return [*__all__, "__version__"]


class _Face(ModuleType):
    """Keeps ``matrixhub.run`` and ``matrixhub.plan`` the functions, whose packages bear the same names."""

    def __setattr__(self, name: str, value: Any) -> None:
        # Importing a submodule binds it to its parent; here that would hide a public function.
        if name not in _HOME_OF or not isinstance(value, ModuleType):
            super().__setattr__(name, value)


sys.modules[__name__].__class__ = _Face
