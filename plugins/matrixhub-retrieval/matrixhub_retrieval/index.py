"""Rows that a trained product finds: their vectors in an index, and what to show of each.

Shape legend: N rows, E width of a vector.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import torch
from numpy.typing import NDArray
from usearch.index import Index

from matrixhub import DataError, Features
from matrixhub_retrieval.rows import CONTENT, WHOLE, encoded_column, shown

EXACT_ROWS = 50_000
"""Up to so many rows each is compared with the query; of more, the graph of the index finds nearly all."""

GRAPH_WIDTH = 256
"""Rows that a search through the graph keeps in hand: with more it finds more, and takes longer."""

ROWS_AT_ONCE = 1024

Vectors = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Found:
    """A row that was found.

    Attributes:
        similarity: cosine, -1 to 1.
        row: its columns.
    """

    similarity: float
    row: dict[str, Any]


class SearchIndex:
    """Rows that a product finds by either of its two inputs.

    Args:
        product: as ``matrixhub.load`` gives it, trained for retrieval.
        name: of the input that rows are found by; None takes the second.

    Raises:
        DataError: it was not trained for retrieval, or has no such input.
    """

    def __init__(self, product: Any, name: str | None = None) -> None:
        require_retrieval(product)
        names = list(product.inputs)
        self.product, self.name = product, names[1] if name is None else name
        if self.name not in names:
            raise DataError(f"this product has no input '{self.name}', but {' and '.join(names)}.")
        self.dim = product.model.readout.fusion.dim // 2
        self.vectors = Index(ndim=self.dim, metric="cos", dtype="f32", expansion_search=GRAPH_WIDTH)
        self.rows: pa.Table | None = None

    def __len__(self) -> int:
        return 0 if self.rows is None else int(self.rows.num_rows)

    def add(self, table: pa.Table | Sequence[Mapping[str, Any]]) -> int:
        """Add rows; one that is there already, in every column, is left out.

        What was encoded before is not encoded again.

        Args:
            table: with the columns that the input reads; all that it has is shown when a row is found. Rows
                as mappings make a table, too.

        Returns:
            How many rows were encoded.

        Raises:
            DataError: a column is missing, or of another type than before; a value cannot be read (names the
                row). The index is then as it was before.
        """
        table = self.product.transform(table if isinstance(table, pa.Table) else _table_of(table))
        kept = shown(table, encoded_column(table, self.product.inputs[self.name]["column"]))
        there = set() if self.rows is None else set(self.rows[WHOLE].to_pylist())
        fresh = pa.array([i for w, i in _firsts(kept[WHOLE]).items() if w not in there], pa.int64())
        table, kept = table.take(fresh), kept.take(fresh)
        try:
            old = [] if self.rows is None else [self.rows]
            rows = pa.concat_tables([*old, kept], promote_options="default")
        except (pa.ArrowInvalid, pa.ArrowTypeError) as error:
            raise DataError(f"these rows do not go with those of the index: {error}") from None
        first, firsts = len(self), _firsts(rows[CONTENT])
        places = [firsts[content] for content in kept[CONTENT].to_pylist()]
        vectors_NE = np.empty((len(places), self.dim), np.float32)
        new = [i for i, place in enumerate(places) if place == first + i]
        for start in range(0, len(new), ROWS_AT_ONCE):
            some = new[start : start + ROWS_AT_ONCE]
            with _rows_of(fresh.take(pa.array(some, pa.int64()))):
                vectors_NE[some] = self.embed(self.name, table.take(pa.array(some, pa.int64())))
        for i, place in enumerate(places):
            if place != first + i:
                vectors_NE[i] = self.vectors.get(place) if place < first else vectors_NE[place - first]
        self._keep(np.arange(first, first + len(places)), vectors_NE)
        self.rows = rows
        return len(new)

    def _keep(self, keys_N: NDArray[np.int64], vectors_NE: Vectors) -> None:
        """Put vectors into the index, all of them or none."""
        try:
            self.vectors.add(keys_N, vectors_NE)
        except BaseException:  # an interrupt, too
            self.vectors.remove(keys_N[self.vectors.contains(keys_N)])
            raise

    def search(self, query: Any, *, by: str | None = None, k: int = 10) -> list[Found]:
        """The rows nearest to a query, nearest first.

        Args:
            query: a value of an input: a text, the path of an image, an image. It goes through the product's
                transforms in the column of that input; where they read more, a row of columns is a query.
            by: that input; None takes the one that rows are not found by.
            k: how many at most.

        Raises:
            DataError: the query cannot be read, or ``k`` is below 1.
            PluginError: a transform cannot take it.
        """
        if k < 1:
            raise DataError(f"k={k} is no number of rows: 1 is the least.")
        if isinstance(query, list) or (isinstance(query, str) and not query.strip()):
            raise DataError("a query is one value, and not an empty one: ask for each of several alone.")
        if self.rows is None or not len(self):
            return []
        other = next(name for name in self.product.inputs if name != self.name)
        name = other if by is None else by
        vector_E = self.embed(name, self._asked(name, query))[0]
        found = self.vectors.search(vector_E, min(k, len(self)), exact=len(self) <= EXACT_ROWS)
        rows = self.rows.drop_columns([CONTENT, WHOLE]).take(pa.array(found.keys, pa.int64())).to_pylist()
        return [Found(1 - float(far), row) for far, row in zip(found.distances, rows, strict=True)]

    def _asked(self, name: str, query: Any) -> pa.Table | list[Any]:
        """The query as an encoder reads it: with the product's transforms, a row that went through them."""
        if not self.product.transform.transforms:
            return [query]
        column = self.product.inputs[name]["column"]
        row = query if isinstance(query, Mapping) else _by_column(column, query)
        try:
            return self.product.transform(pa.Table.from_pylist([row]))
        except (pa.ArrowException, TypeError) as error:
            raise DataError(
                f"this product's transforms read tables, and no table holds it: {error}"
            ) from None

    @torch.inference_mode()
    def embed(self, name: str, rows: pa.Table | Sequence[Any]) -> Vectors:
        """Unit vectors (N, E) of one input, in the space that both inputs are found in.

        Args:
            name: of the input.
            rows: a table with its columns, or values.
        """
        features, names = self.product.features_of(name, rows), list(self.product.inputs)
        # What the other input is does not matter: each side of the space is made of its own alone.
        nothing = {n: Features(features.pooled_BD.new_zeros(len(rows), d)) for n, d in self._dims.items()}
        both = self.product.model.readout.fusion({**nothing, name: features}).pooled_BD
        side = both.float().chunk(2, dim=-1)[names.index(name)]
        found: Vectors = torch.nn.functional.normalize(side, dim=-1).cpu().numpy()
        return found

    @property
    def _dims(self) -> dict[str, int]:
        found: dict[str, int] = self.product.manifest["dims"]
        return found


@contextmanager
def _rows_of(rows: pa.Int64Array) -> Iterator[None]:
    """Errors of a part of a table name the rows that the part is made of."""
    try:
        yield
    except DataError as error:
        if error.row is None:
            raise
        raise DataError(error.message, row=rows[error.row].as_py(), column=error.column) from error


def require_retrieval(product: Any) -> None:
    """Refuse a product that was trained for something else.

    Raises:
        DataError: it was.
    """
    if not hasattr(product, "outputs"):
        raise DataError(f"{product!r} is no product: give what matrixhub.load(ARTIFACT) gives.")
    tasks = {output["task"] for output in product.outputs.values()}
    if "retrieval" not in tasks:
        raise DataError(
            f"'{product.name}' was trained for {', '.join(sorted(tasks))}, not for retrieval: train one with"
            f" head=contrastive, such as product=search."
        )


def _table_of(rows: Any) -> pa.Table:
    try:
        return pa.Table.from_pylist(list(rows))
    except (pa.ArrowException, AttributeError, TypeError) as error:
        raise DataError(f"rows are an Arrow table, or mappings of columns to values: {error}") from None


def _by_column(column: Any, value: Any) -> dict[str, Any]:
    return {column: value} if isinstance(column, str) else dict(zip(column, value, strict=True))


def _firsts(values: pa.ChunkedArray) -> dict[Any, int]:
    """The place where each value stands first."""
    found: dict[Any, int] = {}
    for place, value in enumerate(values.to_pylist()):
        found.setdefault(value, place)
    return found
