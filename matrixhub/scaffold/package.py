"""Templates to files."""

import datetime
from collections.abc import Iterator, Mapping
from pathlib import Path
from string import Template as Text

from matrixhub import __version__
from matrixhub.errors import ConfigError
from matrixhub.scaffold.kinds import TEXT, Template, template_of
from matrixhub.scaffold.names import Names

TEMPLATES = Path(__file__).parent / "templates"
SUFFIX = ".tmpl"
_COMMANDS = f"commands.sh{SUFFIX}"


def render(names: Names, *, kind: str, modality: str | None = None) -> dict[str, str]:
    """Every file of a plugin by its path in the package's folder.

    Raises:
        ConfigError: as of ``template_of``.
    """
    template = template_of(kind, modality)
    own = TEMPLATES / template.folder
    values = _values(names, template, kind=kind, modality=modality or TEXT)
    values["commands"] = Text((own / _COMMANDS).read_text("utf-8")).substitute(values).rstrip()
    found = {}
    for root, below in ((TEMPLATES / "common", ""), (own, "package")):
        for path in _files(root):
            place = Path(below, path.relative_to(root)).as_posix().removesuffix(SUFFIX)
            found[_renamed(place, names)] = Text(path.read_text("utf-8")).substitute(values)
    return dict(sorted(found.items()))


def _files(root: Path) -> Iterator[Path]:
    return (path for path in sorted(root.rglob(f"*{SUFFIX}")) if path.name != _COMMANDS)


def _renamed(place: str, names: Names) -> str:
    """A template's path as it is written: some could not lie here under the name they are to have."""
    new = {
        "package": names.module,
        "product.yaml": f"{names.namespace}.yaml",
        "conformance.py": "test_conformance.py",
        "gitignore": ".gitignore",
        "github": ".github",
    }
    return "/".join(new.get(part, part) for part in place.split("/"))


def _values(names: Names, template: Template, *, kind: str, modality: str) -> dict[str, str]:
    requires = (f"matrixhub{bounds(__version__)}", *template.requires)
    of = f" of {modality}" if kind == "encoder" else ""
    return {
        "name": names.distribution,
        "module": names.module,
        "namespace": names.namespace,
        "component": f"{names.namespace}.{template.alias}",
        "file": template.file,
        "modality": modality,
        "summary": f"A MatrixHub {kind}{of}: {template.summary}.",
        "dependencies": "\n".join(f'    "{one}",' for one in requires),
        "year": str(datetime.datetime.now(tz=datetime.UTC).year),
    }


def bounds(version: str) -> str:
    """The versions that keep what this one promises: 0.3.1 gives ``>=0.3,<0.4``, and 1.3.1 ``>=1.3,<2``."""
    major, minor = (int(part) for part in version.split(".")[:2])
    return f">={major}.{minor},<{major + 1}" if major else f">={major}.{minor},<{major}.{minor + 1}"


def write(folder: Path, files: Mapping[str, str]) -> None:
    """Write them into a folder that is new or empty.

    Raises:
        ConfigError: it holds something, is a file, or cannot be written.
    """
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise ConfigError(f"{folder} is there and not empty: choose another one by --output DIR.")
    try:
        for place, text in files.items():
            path = folder / place
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, "utf-8")
    except OSError as error:
        raise ConfigError(f"{folder} cannot be written: {error.strerror}.") from error
