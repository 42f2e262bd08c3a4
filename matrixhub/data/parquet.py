"""parquet, row group by row group."""

import functools
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet

from matrixhub.data.headers import require_good_header
from matrixhub.errors import DataError

_ROWS = 4096


class ParquetFile:
    """One parquet file; categories are read as their values."""

    def __init__(self, path: Path) -> None:
        self.path = path

    @functools.cached_property
    def schema(self) -> pa.Schema:
        """Columns without the metadata other tools left.

        Raises:
            DataError: not a parquet file, no rows, a repeated column.
        """
        with self._open() as file:
            if not file.metadata.num_rows:
                raise DataError(f"{self.path} has no rows.")
            stored = file.schema_arrow
        require_good_header(stored.names, self.path)
        return pa.schema([pa.field(field.name, _plain(field.type)) for field in stored])

    def blocks(self) -> Iterator[pa.Table]:
        """The rows, some thousands at a time."""
        with self._open() as file:
            try:
                for batch in file.iter_batches(batch_size=_ROWS):
                    yield pa.Table.from_batches([batch]).cast(self.schema)
            except (pa.ArrowException, OSError) as error:
                raise DataError(f"{self.path} is damaged: {error}.") from error

    def _open(self) -> Any:
        try:
            return pyarrow.parquet.ParquetFile(self.path)
        except (pa.ArrowException, OSError) as error:
            raise DataError(f"{self.path} is not a readable parquet file: {error}.") from error


def _plain(kind: pa.DataType) -> pa.DataType:
    if pa.types.is_dictionary(kind):
        return _plain(kind.value_type)
    return pa.string() if pa.types.is_large_string(kind) or pa.types.is_string_view(kind) else kind
