"""``matrixhub doctor``: what is installed, what is wrong with it, what to do."""

import importlib.metadata
import os
import platform
from collections.abc import Sequence

from matrixhub import __version__
from matrixhub.cli.main import Parser
from matrixhub.cli.plugin_doctor import plugin_lines
from matrixhub.config.presets import conf_dir
from matrixhub.plugins import hub

PACKAGES = (
    "torch",
    "accelerate",
    "transformers",
    "timm",
    "hydra-core",
    "omegaconf",
    "pluggy",
    "pyarrow",
    "datasets",
)


def main(argv: Sequence[str]) -> int:
    """Print versions, devices and plugins.

    Returns:
        1 when a plugin was set aside, an allowed one is not there, or a needed package is missing.
    """
    parser = Parser(
        prog="matrixhub doctor", description="Versions, devices, plugins and their faults, what to do."
    )
    parser.parse_args(argv)
    machine = f"{platform.system()} {platform.machine()}"
    print(f"matrixhub {__version__}, Python {platform.python_version()}, {machine}")
    versions = {name: _version(name) for name in PACKAGES}
    print(
        "packages   "
        + ", ".join(f"{name} {version or 'not installed'}" for name, version in versions.items())
    )
    print(f"devices    {_devices() if versions['torch'] else 'unknown without torch: pip install torch'}")
    print(f"hub access {'off (HF_HUB_OFFLINE is set)' if _offline() else 'on'}")
    print(f"configs    {conf_dir()}")
    print("\n".join(plugin_lines()))
    missing = [name for name in ("torch", "accelerate") if not versions[name]]
    if missing:
        print(f"what to do: pip install {' '.join(missing)}")
    return 1 if hub().faults or hub().unknown or missing else 0


def _version(name: str) -> str:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return ""


def _offline() -> bool:
    return os.environ.get("HF_HUB_OFFLINE", "").upper() in ("1", "TRUE", "YES", "ON")


def _devices() -> str:
    import torch

    if torch.cuda.is_available():
        return ", ".join(torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count()))
    return f"cpu, {torch.get_num_threads()} threads"
