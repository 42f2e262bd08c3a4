"""``run.json``: on what, with what and by which command a run was made. Imports nothing heavy."""

import importlib.metadata
import json
import os
import platform
import shlex
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from matrixhub.plugins import hub

FACTS = "run.json"
PACKAGES = ("matrixhub", "torch", "transformers", "timm", "accelerate")


def write_facts(folder: Path, argv: Sequence[str] = ()) -> None:
    """Leave ``run.json`` in a run folder, whole or not at all; a second call completes the first.

    Args:
        folder: of the run.
        argv: the command line, program first; ``sys.argv`` when empty.
    """
    path = folder / FACTS
    facts = run_facts(argv or sys.argv)
    if path.is_file():
        # Ranks know more of the machine than who started them, and less of the command.
        first = json.loads(path.read_text(encoding="utf-8"))
        facts |= {key: first[key] for key in ("started", "argv", "command") if key in first}
    staged = path.with_suffix(".tmp")
    staged.write_text(json.dumps(facts, indent=1, ensure_ascii=False), encoding="utf-8")
    staged.replace(path)


def run_facts(argv: Sequence[str]) -> dict[str, Any]:
    """Plain data about this process: time, command, machine, versions.

    ``argv`` and ``command`` are there for the ``matrixhub`` command only: what another program was started
    with is its own business.
    """
    facts: dict[str, Any] = {"started": time.strftime("%Y-%m-%d %H:%M:%S %z")}
    if Path(argv[0]).name == "matrixhub":
        facts |= {"argv": list(argv), "command": shlex.join(["matrixhub", *argv[1:]])}
    return facts | {
        "python": platform.python_version(),
        "platform": f"{platform.system()} {platform.release()} {platform.machine()}",
        "cpu": _cpu(),
        "cores": os.cpu_count(),
        "memory": _memory(),
        "accelerators": _accelerators(),
        "threads": _threads(),
        "packages": _packages(),
    }


def _packages() -> dict[str, str]:
    """Versions of what a result may depend on, plugins included."""
    versions = {plugin.distribution: plugin.version for plugin in hub().plugins}
    for name in PACKAGES:
        try:
            versions[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return dict(sorted(versions.items()))


def _cpu() -> str:
    """The processor's model, where the system tells it."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    named = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(named, platform.machine())


def _memory() -> str:
    try:
        size = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (OSError, ValueError):
        return "unknown"
    return f"{size / 2**30:.0f} GiB"


def _accelerators() -> list[str]:
    """Graphics cards by name: from torch where it is loaded, else from the driver's own files."""
    torch = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_available():
        return [str(torch.cuda.get_device_name(i)) for i in range(torch.cuda.device_count())]
    found = []
    for path in sorted(Path("/proc/driver/nvidia/gpus").glob("*/information")):
        text = path.read_text(encoding="utf-8", errors="replace")
        found += [line.partition(":")[2].strip() for line in text.splitlines() if line.startswith("Model")]
    return found


def _threads() -> int:
    """Threads that a tensor operation uses in a process of this run."""
    torch = sys.modules.get("torch")
    if torch is not None:
        return int(torch.get_num_threads())
    return int(os.environ.get("OMP_NUM_THREADS") or os.cpu_count() or 1)
