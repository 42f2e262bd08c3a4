"""Packages that strangers might have written, installed by pip into a folder of their own."""

import subprocess
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).parent


@pytest.fixture(scope="session")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Holds wheels of both packages, as site-packages would."""
    folder = tmp_path_factory.mktemp("site")
    offline = ("--no-index", "--no-deps", "--no-build-isolation", "--quiet")
    packages = [str(path.parent) for path in sorted(HERE.glob("*/pyproject.toml"))]
    subprocess.run(
        [sys.executable, "-m", "pip", "install", *offline, "--target", str(folder), *packages],
        check=True,
        timeout=120,
    )
    return folder
