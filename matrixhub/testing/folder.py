"""A plugin in a folder, seen by this process and its children as if pip had installed it."""

import contextlib
import os
import sys
import tempfile
import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from matrixhub import plugins
from matrixhub.errors import ConfigError


@contextlib.contextmanager
def as_installed(folder: Path) -> Iterator[list[str]]:
    """The namespaces of the project in a folder, which meanwhile is on ``sys.path`` with its metadata.

    Raises:
        ConfigError: its pyproject.toml cannot be read, or names no plugin.
    """
    path = folder / "pyproject.toml"
    try:
        project: dict[str, Any] = tomllib.loads(path.read_text("utf-8")).get("project", {})
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path} cannot be read: {error}") from error
    points: dict[str, str] = project.get("entry-points", {}).get(plugins.GROUP, {})
    if not points:
        raise ConfigError(
            f'{path} names no plugin: write [project.entry-points."{plugins.GROUP}"] NAME = "pkg.plugin"'
        )
    source = folder / "src" if (folder / "src").is_dir() else folder
    before = list(sys.path)
    with tempfile.TemporaryDirectory(prefix="matrixhub-check-") as scratch:
        _write_metadata(Path(scratch), project, points, folder.resolve())
        sys.path[:0] = [scratch, str(source.resolve())]
        plugins.forget()
        try:
            yield list(points)
        finally:
            sys.path[:] = before
            plugins.forget()


def _write_metadata(site: Path, project: Mapping[str, Any], points: Mapping[str, str], folder: Path) -> None:
    """What pip would write, of it what is read."""
    name, version = project.get("name", folder.name), project.get("version", "0")
    info = site / f"{name.replace('-', '_')}-{version}.dist-info"
    info.mkdir()
    requires = [f"Requires-Dist: {one}" for one in project.get("dependencies", ())]
    lines = ["Metadata-Version: 2.1", f"Name: {name}", f"Version: {version}", *requires]
    (info / "METADATA").write_text("\n".join(lines) + os.linesep, "utf-8")
    named = [f"{point} = {target}" for point, target in points.items()]
    (info / "entry_points.txt").write_text("\n".join([f"[{plugins.GROUP}]", *named]) + "\n", "utf-8")
    (info / "direct_url.json").write_text(
        f'{{"url": "{folder.as_uri()}", "dir_info": {{"editable": true}}}}', "utf-8"
    )
