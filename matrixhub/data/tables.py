"""Rows of csv, tsv, jsonl and parquet files, loaded or streamed."""

import functools
import hashlib
import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from matrixhub.data.files import file_state, find_files, fingerprint, format_of, missing_file
from matrixhub.data.headers import require_in_header, require_same_header
from matrixhub.data.named_files import named_in_text
from matrixhub.data.split_names import require_split_name
from matrixhub.data.streams import head, rechunk
from matrixhub.errors import ConfigError, DataError, UnknownNameError
from matrixhub.types import PATH_FIELD, SPLIT_COLUMN

if TYPE_CHECKING:
    import pyarrow as pa

_DELIMITERS = {"csv": ",", "tsv": "\t"}
_LONGEST_PATH = 1000
_CURE = "rename it, or, of a product's source, write product.source.format=csv (or tsv, jsonl, parquet)"
_FORMATS = (*_DELIMITERS, "jsonl", "parquet")


class TableFile(Protocol):
    """One file of any format."""

    path: Path

    @property
    def schema(self) -> "pa.Schema":
        """Its columns."""
        ...

    def blocks(self) -> "Iterator[pa.Table]":
        """Its rows, in tables of that schema of any size."""
        ...


class TableSource:
    """Rows of one or more files with the same columns; the options are those of ``TableConfig``.

    Raises:
        DataError: a file that is missing.
        ConfigError: an option that cannot be right.
    """

    def __init__(
        self,
        *,
        path: str | Sequence[str] | Mapping[str, Any],
        format: str | None = None,  # noqa: A002 - its name in the config
        paths: Sequence[str] = (),
        delimiter: str | None = None,
        limit: int | None = None,
    ) -> None:
        if format is not None and format not in _FORMATS:
            raise UnknownNameError("format", format, _FORMATS)
        if limit is not None and limit < 1:
            raise ConfigError(f"limit is {limit}: it must be at least 1, or null for all rows.")
        given = path if isinstance(path, Mapping) else {None: path}
        names = [None if split is None else require_split_name(split) for split in given]
        if len(set(names)) < len(names):
            raise ConfigError(f"path names a split twice: {', '.join(map(str, given))}.")
        self._files = dict(zip(names, map(find_files, given.values()), strict=True))
        self._format, self._delimiter = format, delimiter
        self._paths, self._limit = list(paths), limit

    def fingerprint(self) -> str:
        """Changes with the files, their order, the options, and the files that ``paths`` columns name."""
        counts = [(split, len(files)) for split, files in self._files.items()]
        options = (counts, self._format, self._delimiter, self._paths, self._limit)
        tables = fingerprint(options, (path for files in self._files.values() for path in files))
        if not self._paths:
            return tables
        digest = hashlib.sha256(tables.encode())
        for path in (path for files in self._files.values() for path in files):
            for name in filter(None, self._named(path)):
                digest.update(file_state(path.absolute().parent / name))
        return digest.hexdigest()

    def _named(self, path: Path) -> "Iterator[str | None]":
        """Files that one file's ``paths`` columns name, relative to its folder or absolute."""
        kind = self._kind(path)
        if kind != "parquet":
            try:
                delimiter = self._delimiter or _DELIMITERS[kind] if kind in _DELIMITERS else None
                return iter(list(named_in_text(path, self._paths, delimiter=delimiter)))
            except ValueError:
                pass  # reading it properly says what is wrong
        file = self._open(path)
        require_in_header(file.schema.names, self._paths, path)
        blocks = (table.select(self._paths) for table in file.blocks())
        return (name for table in blocks for column in table.columns for name in column.to_pylist())

    def read(self) -> "pa.Table":
        """All rows.

        Raises:
            DataError: anything wrong with a file or row; a file named by a ``paths`` column is missing.
        """
        import pyarrow as pa

        return pa.concat_tables(self._stream(check_paths=True))

    def batches(self, batch_size: int) -> "Iterator[pa.Table]":
        """The rows of ``read()``, ``batch_size`` at a time, in memory that does not grow with their number.

        Files named by ``paths`` columns are not looked for: whoever opens one finds out.
        """
        return rechunk(self._stream(check_paths=False), batch_size)

    def _stream(self, *, check_paths: bool) -> "Iterator[pa.Table]":
        schema = self._schema  # every header is checked before the first row is given
        for split, files in self._tables.items():
            blocks = (block for file in files for block in self._rows(file, schema, check_paths))
            for block in head(blocks, self._limit):
                yield block if split is None else _with_split(block, split)

    def _rows(self, file: TableFile, schema: "pa.Schema", check_paths: bool) -> "Iterator[pa.Table]":
        start = 0
        for block in file.blocks():
            table = block.select(schema.names).cast(schema)
            for name in self._paths:
                table = _absolute(table, name, file.path, start if check_paths else None)
            start += table.num_rows
            yield table

    @functools.cached_property
    def _tables(self) -> dict[str | None, list[TableFile]]:
        return {split: [self._open(path) for path in files] for split, files in self._files.items()}

    def _kind(self, path: Path) -> str:
        return self._format or format_of(path, _CURE)

    def _open(self, path: Path) -> TableFile:
        kind = self._kind(path)
        if kind in _DELIMITERS:
            from matrixhub.data.delimited import DelimitedFile

            return DelimitedFile(path, self._delimiter or _DELIMITERS[kind])
        if kind == "jsonl":
            from matrixhub.data.jsonl import JsonlFile

            return JsonlFile(path)
        from matrixhub.data.parquet import ParquetFile

        return ParquetFile(path)

    @functools.cached_property
    def _schema(self) -> "pa.Schema":
        """Columns of all files together, in the order of the first."""
        import pyarrow as pa

        first, *others = [file for files in self._tables.values() for file in files]
        require_in_header(first.schema.names, self._paths, first.path)
        schema = first.schema
        for file in others:
            require_same_header(file.schema.names, file.path, first.schema.names, first.path)
            try:
                schema = pa.unify_schemas([schema, file.schema], promote_options="permissive")
            except pa.ArrowException as error:
                raise DataError(
                    f"{file.path} and {first.path} differ in the type of a column: {error}."
                ) from None
        return schema


def _with_split(table: "pa.Table", split: str) -> "pa.Table":
    import pyarrow as pa

    return table.append_column(SPLIT_COLUMN, pa.array([split] * table.num_rows, pa.string()))


def _absolute(table: "pa.Table", name: str, file: Path, first_row: int | None) -> "pa.Table":
    """Paths of a column made absolute against the file's folder; from ``first_row`` on, looked for."""
    import pyarrow as pa

    folder = file.absolute().parent
    column = table.column(name)
    if not (pa.types.is_string(column.type) or pa.types.is_null(column.type)):
        raise DataError(f"{file} has {column.type} where 'paths' needs file names.", column=name)
    # An empty cell is no value: whether rows may lack one is for the product to say.
    cells = [value if value and value.strip() else None for value in column.to_pylist()]
    found = [os.path.normpath(folder / value) if value else None for value in cells]
    if first_row is not None:
        for row, path in enumerate(found, start=first_row):
            # Path.is_file raises on a name too long, such as a text taken for a path.
            if path is not None and not os.path.isfile(path):  # noqa: PTH113
                short = len(path) < _LONGEST_PATH
                message = missing_file(Path(path)) if short else f"{file} names no file here."
                raise DataError(message, row=row, column=name)
    field = pa.field(name, pa.string(), metadata=PATH_FIELD)
    return table.set_column(table.schema.get_field_index(name), field, pa.array(found, pa.string()))
