"""One tree of exceptions. Every message says what is wrong, what is allowed and what to type next."""

import difflib
from collections.abc import Iterable


class MatrixHubError(Exception):
    """The root: catch this to catch everything MatrixHub raises on purpose."""

    exit_code = 1


class ConfigError(MatrixHubError):
    """A config, an override or a command line that cannot be right."""

    exit_code = 2


class UnknownNameError(ConfigError):
    """A name that nothing is registered under, with the nearest names that exist."""

    def __init__(self, what: str, name: str, allowed: Iterable[str], hint: str = "") -> None:
        self.name = name
        self.allowed = sorted(allowed)
        super().__init__(unknown_name(what, name, self.allowed, hint))


class PluginError(MatrixHubError):
    """A plugin that is missing, broken, refused or set aside.

    Args:
        message: what is wrong.
        cure: what its author has to write, or its user to type; empty where the message says it.
    """

    exit_code = 2

    def __init__(self, message: str, cure: str = "") -> None:
        self.cure = cure
        super().__init__(message)


class CheckpointError(MatrixHubError):
    """A checkpoint that cannot be found, reached (offline) or trusted."""

    exit_code = 2


class DataError(MatrixHubError):
    """Rows that cannot be used.

    Args:
        message: what is wrong and what is allowed.
        row: position of the offending row in the table it came from, counted from 0;
            the text counts from 1, as people do.
        column: the column it was found in.
    """

    exit_code = 2

    def __init__(self, message: str, *, row: int | None = None, column: str | None = None) -> None:
        self.message, self.row, self.column = message, row, column
        place = [f"row {row + 1}"] if row is not None else []
        place += [f"column '{column}'"] if column is not None else []
        super().__init__(f"{', '.join(place)}: {message}" if place else message)


class TrainingError(MatrixHubError):
    """Training that cannot go on."""


class NonFiniteError(TrainingError):
    """A loss or gradient that is NaN or infinite; no optimizer step was taken on it."""


class ArtifactError(MatrixHubError):
    """An artifact that is incomplete, damaged or of another version."""

    exit_code = 2


class UnsafeArtifactError(ArtifactError):
    """An artifact that holds something that could run code, or leave its folder."""


def unknown_name(what: str, name: str, allowed: Iterable[str], hint: str = "") -> str:
    """One line: the unknown name, the nearest known ones, the whole list when it is short."""
    names = sorted(allowed)
    near = difflib.get_close_matches(name, names, n=3, cutoff=0.6)
    text = f"Unknown {what} '{name}'."
    if near:
        text += f" Did you mean {' or '.join(repr(n) for n in near)}?"
    if names and len(names) <= (12 if near else 30):
        text += f" Allowed: {', '.join(names)}."
    return f"{text} {hint}".rstrip()
