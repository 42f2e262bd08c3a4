"""One table of an SQLite database as rows."""

import contextlib
import hashlib
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from matrixhub import DataError

if TYPE_CHECKING:
    import pyarrow as pa

TYPES = (("INT", "int64"), ("CHAR", "string"), ("TEXT", "string"), ("CLOB", "string"),
         ("REAL", "float64"), ("FLOA", "float64"), ("DOUB", "float64"), ("BLOB", "binary"))  # fmt: skip
"""What a declared type holds, by a part of its name, as SQLite itself goes by it."""


class SqliteRows:
    """See ``matrixhub.Source``; the options are those of ``SqliteConfig``.

    Raises:
        DataError: there is no such file.
    """

    def __init__(self, *, path: str, table: str) -> None:
        self.path, self.table = Path(path), table
        if not self.path.is_file():
            raise DataError(f"'{path}' is not there: product.source.path names a database file.")

    def fingerprint(self) -> str:
        """Changes when the file, or what waits to be written into it, has been written to."""
        digest = hashlib.sha256(self.table.encode())
        for path in (self.path, Path(f"{self.path}-wal")):
            if path.exists():
                state = path.stat()
                digest.update(f"{path.name} {state.st_size} {state.st_mtime_ns};".encode())
        return digest.hexdigest()

    def read(self) -> "pa.Table":
        """All rows.

        Raises:
            DataError: the table is not there, or a value is not of its column's type.
        """
        import pyarrow as pa

        with self._open() as database:
            schema = self._schema(database)
            return pa.concat_tables([schema.empty_table(), *self._tables(database, schema, 4096)])

    def batches(self, batch_size: int) -> "Iterator[pa.Table]":
        """The rows, ``batch_size`` at a time, as the database gives them."""
        with self._open() as database:
            yield from self._tables(database, self._schema(database), batch_size)

    def _tables(
        self, database: sqlite3.Connection, schema: "pa.Schema", batch_size: int
    ) -> "Iterator[pa.Table]":
        import pyarrow as pa

        names = ", ".join(map(_quoted, schema.names))
        cursor = database.execute(f"SELECT {names} FROM {_quoted(self.table)}")
        start = 0
        while rows := cursor.fetchmany(batch_size):
            columns = [
                _column(values, field, start)
                for values, field in zip(zip(*rows, strict=True), schema, strict=True)
            ]
            yield pa.table(columns, schema=schema)
            start += len(rows)

    def _schema(self, database: sqlite3.Connection) -> "pa.Schema":
        import pyarrow as pa

        found = database.execute("SELECT name, type FROM pragma_table_info(?)", [self.table]).fetchall()
        if not found:
            tables = [
                name for (name,) in database.execute("SELECT name FROM sqlite_master WHERE type = 'table'")
            ]
            raise DataError(
                f"'{self.path}' has no table '{self.table}'. There is: {', '.join(tables) or 'none'}."
            )
        return pa.schema([(name, getattr(pa, _arrow_type(declared))()) for name, declared in found])

    @contextlib.contextmanager
    def _open(self) -> Iterator[sqlite3.Connection]:
        """Only to be read, so that a plan never makes a file."""
        with contextlib.closing(
            sqlite3.connect(f"{self.path.absolute().as_uri()}?mode=ro", uri=True)
        ) as database:
            try:
                yield database
            except sqlite3.DatabaseError as error:
                raise DataError(f"'{self.path}' cannot be read as an SQLite database: {error}.") from error


def _column(values: tuple[Any, ...], field: "pa.Field", start: int) -> "pa.Array":
    import pyarrow as pa

    try:
        return pa.array(values, field.type)
    except (pa.ArrowInvalid, pa.ArrowTypeError) as error:
        raise DataError(
            f"a value from row {start + 1} on is no {field.type}: {error}", column=field.name
        ) from error


def _arrow_type(declared: str) -> str:
    return next((arrow for part, arrow in TYPES if part in declared.upper()), "string")


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'
