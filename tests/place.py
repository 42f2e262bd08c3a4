"""Virtual environments that hold nothing of ours but what a test installs.

Third-party packages are borrowed from the environment that runs the tests.
"""

import os
import subprocess
import sys
import sysconfig
import venv
from dataclasses import dataclass
from pathlib import Path

OURS = ("matrixhub", "_matrixhub", "__editable__")
"""How the names of what is not borrowed begin."""


@dataclass(frozen=True)
class Place:
    """A virtual environment that borrows the packages of this one, but for ours."""

    folder: Path

    def run(self, *argv: str, cwd: Path | None = None) -> str:
        """Output of one of its programs, which must succeed."""
        done = subprocess.run(
            [str(self.folder / "bin" / argv[0]), *argv[1:]],
            env={**os.environ, "PYTHONPATH": "", "MATRIXHUB_CACHE": str(self.folder / "cache")},
            cwd=cwd or self.folder,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout


def make_place(folder: Path) -> Place:
    """Empty but for a path file that borrows; links leave out whatever is ours."""
    venv.create(folder, with_pip=False)
    borrowed = folder / "borrowed"
    borrowed.mkdir()
    for path in Path(sysconfig.get_paths()["purelib"]).iterdir():
        if not path.name.replace("-", "_").lower().startswith(OURS):
            (borrowed / path.name).symlink_to(path)
    version = f"python{sys.version_info.major}.{sys.version_info.minor}"
    (folder / "lib" / version / "site-packages" / "borrowed.pth").write_text(f"{borrowed}\n")
    return Place(folder)


def pip(*argv: str) -> None:
    """This environment's pip, kept from the network and from other packages."""
    quiet = {"PIP_NO_DEPS": "1", "PIP_NO_BUILD_ISOLATION": "0", "PIP_NO_INDEX": "1", "PIP_QUIET": "1"}
    done = subprocess.run(
        [sys.executable, "-m", "pip", *argv],
        env={**os.environ, **quiet},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
