"""The installed ``matrixhub`` command, and Python, in processes of their own."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

SCRIPT = Path(sys.executable).parent / "matrixhub"

Done = subprocess.CompletedProcess[str]


def environment(site: Path | None = None, **extra: str) -> dict[str, str]:
    """This process's, with ``site`` standing in for one more folder of installed packages."""
    paths = [str(site) if site else "", os.environ.get("PYTHONPATH", "")]
    return {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, paths)), **extra}


def command(
    *argv: str, site: Path | None = None, cwd: Path | None = None, timeout: int = 300, **extra: str
) -> Done:
    """Run ``matrixhub`` with these arguments."""
    return subprocess.run(
        [str(SCRIPT), *argv],
        env=environment(site, **extra),
        cwd=cwd,
        capture_output=True,
        text=True,
        check=False,
        timeout=timeout,
    )


def python(code: str, *argv: str, site: Path | None = None, cwd: Path | None = None, **extra: str) -> Any:
    """The value that ``code`` prints as JSON on its last line, in a new process."""
    done = subprocess.run(
        [sys.executable, "-c", code, *argv],
        env=environment(site, **extra),
        cwd=cwd,
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])
