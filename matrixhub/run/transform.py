"""Transforms of a product applied to its rows: to all of them when it is trained, to some when it answers."""

from collections.abc import Mapping, Sequence
from typing import Any

import pyarrow as pa

from matrixhub.errors import DataError, MatrixHubError, PluginError
from matrixhub.run.model import build

Options = Mapping[str, Any]


def transformed(table: pa.Table, chosen: Sequence[Options]) -> pa.Table:
    """All rows of a source through each transform, in order.

    Args:
        table: as the source gave it.
        chosen: component options of the transforms.

    Raises:
        DataError: one drops all rows.
        PluginError: one fails, or drops a column.
    """
    for options in chosen:
        name, transform = options["name"], build("transform", options)
        table = _applied(name, transform, table)
        if not table.num_rows:
            raise DataError(f"Transform '{name}' drops all rows.")
    return table


class Answering:
    """The same transforms, for rows that a trained product is to answer; made once.

    Args:
        chosen: component options of the transforms.
    """

    def __init__(self, chosen: Sequence[Options]) -> None:
        made = [(options["name"], build("transform", options)) for options in chosen]
        self.transforms = [(n, one) for n, one in made if not getattr(one, "training_only", False)]

    def __call__(self, table: pa.Table) -> pa.Table:
        """As many rows, in their places.

        Raises:
            PluginError: one fails, or drops a row or a column.
        """
        for name, transform in self.transforms:
            found = _applied(name, transform, table)
            if found.num_rows != table.num_rows:
                raise PluginError(
                    f"Transform '{name}' makes {found.num_rows} rows of {table.num_rows}, and every row wants"
                    " its answer: it may drop some only when a product is trained. One with training_only ="
                    " True is left out here."
                )
            table = found
        return table


def _applied(name: str, transform: Any, table: pa.Table) -> pa.Table:
    try:
        found = transform(table)
    except MatrixHubError:
        raise
    except Exception as error:  # whatever a plugin raises costs its own cells only
        raise PluginError(f"Transform '{name}' failed: {type(error).__name__}: {error}") from error
    if not isinstance(found, pa.Table):
        raise PluginError(f"Transform '{name}' gives a {type(found).__name__}, not a pyarrow.Table.")
    if dropped := [column for column in table.column_names if column not in found.column_names]:
        raise PluginError(
            f"Transform '{name}' drops the column '{dropped[0]}': it may add and change columns."
        )
    return _marked_as(table.schema, found)


def _marked_as(schema: pa.Schema, table: pa.Table) -> pa.Table:
    """With the field metadata of columns that are of their old type: they were made anew as likely as not."""
    fields = [
        field.with_metadata(schema.field(field.name).metadata)
        if field.name in schema.names and schema.field(field.name).type == field.type
        else field
        for field in table.schema
    ]
    return pa.Table.from_arrays(table.columns, schema=pa.schema(fields))
