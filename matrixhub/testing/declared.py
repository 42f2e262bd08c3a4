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
        ConfigError: it is no TOML, or has a table that means nothing or is of another shape.
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
        _refuse_shape(path, table, data[table])
    return Declared(**data)


def _refuse_shape(path: Path, table: str, found: Any) -> None:
    """Refuse what is no table, or has values that are none of its own.

    Raises:
        ConfigError: names the file, the table and the key.
    """
    if not isinstance(found, dict):
        raise ConfigError(f"{path}: {table} is {found!r}. It must be a table: write [{table}].")
    for key, value in found.items():
        if table == "rows" and not isinstance(value, list):
            raise ConfigError(f"{path}: in [rows], {key} is {value!r}. It must be a list of values.")
        if table != "rows" and not isinstance(value, dict):
            raise ConfigError(
                f'{path}: in [{table}], {key} is {value!r}. It must be a table: write [{table}."KIND.ALIAS"].'
            )
        for check, reason in value.items() if table == "expected_failures" else ():
            if not isinstance(reason, str):
                raise ConfigError(
                    f'{path}: in [{table}."{key}"], {check} is {reason!r}. It must be a reason, as text;'
                    " a key such as encoder.vit stands in quotes."
                )


def merged(
    found: Declared,
    options: Mapping[str, Options] | None,
    expected_failures: Mapping[str, Mapping[str, str]] | None,
) -> Declared:
    """What was found in the package, and what a test says beside it; the test wins: for all options of a key,
    and for each check of one.
    """
    known, said = found.expected_failures, expected_failures or {}
    failures = {key: {**known.get(key, {}), **said.get(key, {})} for key in {**known, **said}}
    return Declared({**found.options, **(options or {})}, failures, found.rows)
