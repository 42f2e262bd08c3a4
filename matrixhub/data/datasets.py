"""A Hugging Face dataset, from a folder that ``save_to_disk`` wrote or by its name on the hub."""

import functools
import hashlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from matrixhub.data.files import file_state
from matrixhub.data.split_names import require_split_name, split_name
from matrixhub.data.streams import head, rechunk
from matrixhub.errors import ConfigError, DataError, MatrixHubError, PluginError
from matrixhub.types import SPLIT_COLUMN

if TYPE_CHECKING:
    import pyarrow as pa

_ROWS = 1024
_SAVED = ("dataset_info.json", "dataset_dict.json", "state.json")


class DatasetSource:
    """Rows of a dataset; the options are those of ``DatasetConfig``.

    Class labels come as their names (-1, which means none, as null); images and sounds as they are stored,
    a struct of ``bytes`` and ``path``; the splits as ``SPLIT_COLUMN``, unless one is asked for.
    """

    def __init__(
        self,
        *,
        path: str,
        subset: str | None = None,
        split: str | Mapping[str, str] | None = None,
        revision: str | None = None,
        limit: int | None = None,
    ) -> None:
        if limit is not None and limit < 1:
            raise ConfigError(f"limit is {limit}: it must be at least 1, or null for all rows.")
        self._path, self._subset, self._revision, self._limit = path, subset, revision, limit
        self._split = dict(split) if isinstance(split, Mapping) else split

    def fingerprint(self) -> str:
        """Changes with the files of a folder; a dataset of the hub is known by its name and revision."""
        options = (self._path, self._subset, self._split, self._revision, self._limit)
        digest = hashlib.sha256(repr(options).encode())
        if self._folder.is_dir():
            for file in sorted(self._folder.rglob("*")):
                digest.update(file_state(file))
        return digest.hexdigest()

    def read(self) -> "pa.Table":
        """All rows."""
        import pyarrow as pa

        return pa.concat_tables(self._stream())

    def batches(self, batch_size: int) -> "Iterator[pa.Table]":
        """The rows of ``read()``, ``batch_size`` at a time; the rest stays on disk."""
        return rechunk(self._stream(), batch_size)

    def _stream(self) -> "Iterator[pa.Table]":
        for split, dataset in self._splits.items():
            yield from head(_blocks(dataset, split), self._limit)

    @property
    def _folder(self) -> Path:
        return Path(self._path).expanduser()

    @functools.cached_property
    def _splits(self) -> dict[str | None, Any]:
        """Datasets by split, in the library's order; the key is None for rows that are not split."""
        found = self._of_disk() if self._folder.is_dir() else self._of_hub()
        if empty := [name for name, dataset in found.items() if not len(dataset)]:
            raise DataError(f"{self._path} has no rows{f' in {empty[0]}' if empty[0] else ''}.")
        return found

    def _of_disk(self) -> dict[str | None, Any]:
        if not any((self._folder / name).is_file() for name in _SAVED):
            raise DataError(
                f"{self._path} was not written by save_to_disk: for csv or parquet files choose source"
                f" 'table', for a folder of images source 'images'."
            )
        return self._select(_library().load_from_disk(str(self._folder)))

    def _of_hub(self) -> dict[str | None, Any]:
        library = _library()
        try:
            return self._select(library.load_dataset(self._path, self._subset, revision=self._revision))
        except MatrixHubError:
            raise
        except Exception as error:  # the library raises whatever its storage, network and builders raise
            raise DataError(_why_not(self._path, library, error)) from error

    def _select(self, loaded: Any) -> dict[str | None, Any]:
        """The splits that are wanted, under the names they are wanted as."""
        if isinstance(self._split, str):
            return {None: _part(loaded, self._split, self._path)}
        if self._split is not None:
            wanted = {require_split_name(name): text for name, text in self._split.items()}
            return {name: _part(loaded, text, self._path) for name, text in wanted.items()}
        if not isinstance(loaded, Mapping):
            return {None: loaded}
        if strange := [name for name in loaded if split_name(name) is None]:
            raise DataError(
                f"{self._path} has splits that are neither train, validation nor test ({', '.join(strange)}):"
                f" say which to take, such as split={{train: {strange[0]}}}."
            )
        return {require_split_name(name): dataset for name, dataset in loaded.items()}


def _library() -> Any:
    try:
        import datasets
    except ImportError as error:
        raise PluginError(
            "Reading a Hugging Face dataset needs its library: pip install 'matrixhub[datasets]'."
        ) from error
    return datasets


def _why_not(path: str, library: Any, error: Exception) -> str:
    if library.config.HF_HUB_OFFLINE or isinstance(error, ConnectionError | TimeoutError):
        return (
            f"{path} is neither a folder here nor in the cache of the datasets library, and the hub cannot be"
            f" reached (offline): write it to a folder elsewhere with save_to_disk, and give that folder."
        )
    return f"{path} cannot be loaded from the hub: {type(error).__name__}: {error}"


def _part(loaded: Any, text: str, path: str) -> Any:
    """The rows that a text like ``train[:80%]+test`` names."""
    library = _library()
    splits = dict(loaded) if isinstance(loaded, Mapping) else {str(loaded.split or "train"): loaded}
    try:
        chosen = library.ReadInstruction.from_spec(text).to_absolute({k: len(v) for k, v in splits.items()})
    except (ValueError, AssertionError) as error:
        raise DataError(
            f"split={text} names no rows of {path}, which has {', '.join(splits)}: {error}"
        ) from None
    return library.concatenate_datasets([splits[c.splitname].select(range(c.from_, c.to)) for c in chosen])


def _blocks(dataset: Any, split: str | None) -> "Iterator[pa.Table]":
    """The rows as stored but for the names of classes, some at a time."""
    import pyarrow as pa

    stored = dataset.with_format("arrow")
    for start in range(0, len(dataset), _ROWS):
        table = stored[start : start + _ROWS]
        columns = {name: _named(table.column(name), feature) for name, feature in dataset.features.items()}
        if split is not None:
            columns[SPLIT_COLUMN] = pa.array([split] * table.num_rows, pa.string())
        yield pa.table(columns)


def _named(column: Any, feature: Any) -> Any:
    """Class numbers, alone or in lists, as class names; -1 stands for no class."""
    import pyarrow as pa

    names = getattr(feature, "names", None)
    if names is not None:
        return pa.chunked_array([_take(chunk, names) for chunk in column.chunks], pa.string())
    inner = getattr(getattr(feature, "feature", None), "names", None)
    if inner is None or not _is_list(column.type):
        return column
    kind = pa.list_(pa.string())
    return pa.chunked_array([_take_in_lists(chunk, inner) for chunk in column.chunks], kind)


def _is_list(kind: Any) -> bool:
    import pyarrow as pa

    return bool(pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind))


def _take(numbers: Any, names: list[str]) -> Any:
    import pyarrow as pa
    import pyarrow.compute as pc

    return pa.array(names, pa.string()).take(pc.if_else(pc.less(numbers, 0), None, numbers))


def _take_in_lists(lists: Any, names: list[str]) -> Any:
    import pyarrow as pa

    named = iter(_take(lists.flatten(), names).to_pylist())
    return pa.array(
        [None if row is None else [next(named) for _ in row] for row in lists.to_pylist()],
        pa.list_(pa.string()),
    )
