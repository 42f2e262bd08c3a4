"""YAML of the core and of plugins: each file is an option of the group that its folder names."""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import matrixhub
from matrixhub.plugins import hub

_PACKAGE = "# @package"


@dataclass(frozen=True, slots=True)
class Preset:
    """An option of a Hydra group.

    Attributes:
        group: such as ``encoder/text``.
        name: what is chosen there.
        path: of the file.
    """

    group: str
    name: str
    path: Path

    @property
    def about(self) -> str:
        """What the file says of itself: its first comment."""
        lines = self.path.read_text("utf-8").splitlines()
        return next((t[1:].strip() for t in lines if t.startswith("#") and not t.startswith(_PACKAGE)), "")


def conf_dir() -> Path:
    """The shipped ``conf/``: inside the package in a wheel, beside ``pyproject.toml`` in a checkout."""
    package = Path(matrixhub.__file__).parent
    inside = package / "conf"
    return inside if (inside / "config.yaml").is_file() else package.parent / "conf"


def hidden_presets(config_dirs: Iterable[Path]) -> list[str]:
    """Presets in a plugin's folders that nobody can choose: the shipped one of that name comes first."""
    shipped = conf_dir()
    found = (preset.relative_to(folder) for folder in config_dirs for preset in folder.rglob("*.yaml"))
    return sorted(preset.as_posix() for preset in found if (shipped / preset).is_file())


def presets() -> list[Preset]:
    """Of all groups, by group and name; of two that are called the same, the one that is chosen by it."""
    found: dict[tuple[str, str], Preset] = {}
    for folder in (conf_dir(), *hub().config_dirs):
        for path in folder.rglob("*.yaml"):
            group = path.parent.relative_to(folder).as_posix()
            if group != ".":
                found.setdefault((group, path.stem), Preset(group, path.stem, path))
    return [found[key] for key in sorted(found)]
