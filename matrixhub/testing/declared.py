"""What an author declares: how to build a component small, which checks it is known to fail, rows to read."""

import tomllib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from matrixhub.errors import ConfigError, unknown_name

FILE = "conformance.toml"
TABLES = ("options", "expected_failures", "rows")

Options = Mapping[str, Any] | Callable[[Path], Mapping[str, Any]]
"""Options of a component, or what makes them in an empty folder."""


@dataclass(frozen=True, slots=True)
class Declared:
    """What is known beforehand of a plugin's components.

    Keys are ``KIND.ALIAS`` (``encoder.vit``); several ways to build one component are told apart by a word
    after ``@`` (``encoder.vit@large``). The plugin as a whole is ``plugin``.

    Attributes:
        options: how to build it small.
        expected_failures: by component, the name of a check and why it is known to fail.
        rows: values of a modality that the kit has none of.
    """

    options: Mapping[str, Options] = field(default_factory=dict)
    expected_failures: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    rows: Mapping[str, list[Any]] = field(default_factory=dict)

    def variants(self, key: str) -> list[str]:
        """The words after ``@`` in the keys of a component's options; ``[""]`` where there is none."""
        found = [name.partition("@")[2] for name in self.options if name.partition("@")[0] == key]
        return found or [""]

    def reason(self, key: str, variant: str, check: str) -> str | None:
        """Why a check is known to fail, where it is."""
        named = [key, f"{key}@{variant}"] if variant else [key]
        found = (self.expected_failures.get(name, {}).get(check) for name in named)
        return next((reason for reason in found if reason is not None), None)


def read_declared(folder: Path | None) -> Declared:
    """What stands in ``conformance.toml`` of a plugin's package.

    Raises:
        ConfigError: it is no TOML, or has a table that means nothing.
    """
    path = folder / FILE if folder else None
    if path is None or not path.is_file():
        return Declared()
    try:
        data = tomllib.loads(path.read_text("utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path} cannot be read: {error}") from error
    for table in data:
        if table not in TABLES:
            raise ConfigError(unknown_name(f"table of {path}", table, TABLES))
    return Declared(**data)


def merged(
    found: Declared,
    options: Mapping[str, Options] | None,
    expected_failures: Mapping[str, Mapping[str, str]] | None,
) -> Declared:
    """What was found in the package, and what a test says beside it; the test wins."""
    return Declared(
        {**found.options, **(options or {})},
        {**found.expected_failures, **(expected_failures or {})},
        found.rows,
    )
