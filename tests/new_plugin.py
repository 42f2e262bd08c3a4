"""Packages that ``matrixhub plugin new`` writes, one of each kind, seen as installed without pip."""

import tomllib
from dataclasses import dataclass
from pathlib import Path

from matrixhub.scaffold import names_of, render, template_of, write


@dataclass(frozen=True)
class New:
    """One to be written.

    Attributes:
        name: of the package, its module and namespace.
        kind: of its component.
        modality: of an encoder.
    """

    name: str
    kind: str
    modality: str | None = None

    @property
    def component(self) -> str:
        """Its full name."""
        return f"{self.name}.{template_of(self.kind, self.modality).alias}"

    @property
    def argv(self) -> list[str]:
        """What is typed after ``matrixhub plugin new``."""
        return [self.name, "--kind", self.kind, *(["--modality", self.modality] if self.modality else [])]


NEW = (
    New("new_text", "encoder"),
    New("new_image", "encoder", "image"),
    New("new_other", "encoder", "shape"),
    New("new_head", "head"),
    New("new_generator", "generator"),
    New("new_source", "source"),
    New("new_fusion", "fusion"),
    New("new_transform", "transform"),
    New("new_callback", "callback"),
)
"""One of each kind; encoders of text, of images and of a modality that nobody knows."""


def write_new(folder: Path, new: New) -> Path:
    """Write a package into a folder and its metadata beside it; the folder stands in for site-packages."""
    write(folder / new.name, render(names_of(new.name), kind=new.kind, modality=new.modality))
    return pretend_installed(folder / new.name)


def pretend_installed(project: Path) -> Path:
    """Write into a package's folder the metadata that pip would write, and return the folder."""
    data = tomllib.loads((project / "pyproject.toml").read_text())["project"]
    info = project / f"{data['name'].replace('-', '_')}-{data['version']}.dist-info"
    info.mkdir()
    requires = [f"Requires-Dist: {one}" for one in data["dependencies"]]
    lines = [
        "Metadata-Version: 2.1",
        f"Name: {data['name']}",
        f"Version: {data['version']}",
        *requires,
    ]
    (info / "METADATA").write_text("\n".join(lines) + "\n")
    ((group, points),) = data["entry-points"].items()
    (info / "entry_points.txt").write_text(
        "\n".join([f"[{group}]", *(f"{k} = {v}" for k, v in points.items())])
    )
    return project
