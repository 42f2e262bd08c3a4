"""``matrixhub doctor``: what is installed, what is wrong with it, what to do."""

import importlib.metadata
import os
import platform
from collections.abc import Sequence

from matrixhub import __version__
from matrixhub.cli.main import Parser
from matrixhub.config.search import conf_dir
from matrixhub.plugins import Plugin, hub

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


def plugin_lines() -> list[str]:
    """What each plugin offers, or why it was set aside and what to do; imports nothing heavy."""
    lines = ["plugins"]
    for plugin in hub().plugins:
        count = sum(c.namespace == plugin.namespace for c in hub().registry.of_kind())
        state = f"set aside: {plugin.fault}" if plugin.fault else f"{count} components"
        lines.append(f"  {plugin.namespace:<10} {plugin.distribution} {plugin.version}: {state}")
        if plugin.fault:
            lines.append(f"  {'':<10} what to do: {_cure(plugin)}")
    return [*lines, *(f"  {sentence}" for sentence in hub().unknown)]


def _cure(plugin: Plugin) -> str:
    remove = f"pip uninstall {plugin.distribution}"
    if "is taken" in plugin.fault:
        return f"{remove}, or the other one"
    return f"pip install --upgrade {plugin.distribution}, or tell its author; {remove} to be rid of it"


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
