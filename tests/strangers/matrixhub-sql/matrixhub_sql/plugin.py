"""What this plugin offers."""

from dataclasses import dataclass

from matrixhub import MISSING, Register, hookimpl

matrixhub_api = 1


@dataclass
class SqliteConfig:
    """The rows of one table of an SQLite database."""

    path: str = MISSING
    """The database file."""
    table: str = MISSING
    """The table, or view, in it."""


@hookimpl
def matrixhub_components(register: Register) -> None:
    """One source."""
    register("source", "sqlite", "matrixhub_sql.sqlite:SqliteRows", config=SqliteConfig)
