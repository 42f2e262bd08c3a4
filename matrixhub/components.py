"""What the core itself offers, registered the way every plugin does it."""

from dataclasses import dataclass, field
from typing import Any

from matrixhub.hookspecs import hookimpl
from matrixhub.protocols import Register
from matrixhub.types import MISSING


@dataclass
class TableConfig:
    """Rows of csv, tsv, jsonl or parquet files."""

    path: Any = MISSING
    """A file, a list of files, a glob, or a mapping of split (train, validation, test) to any of these."""
    format: str | None = None
    """csv, tsv, jsonl or parquet; None takes it from the file name."""
    paths: list[str] = field(default_factory=list)
    """Columns that hold file paths, relative to the table's own folder."""
    delimiter: str | None = None
    """Of csv; None is a comma (a tab for tsv)."""
    limit: int | None = None
    """Read the first so many rows only, of each split where splits are given."""


@dataclass
class ImageFolderConfig:
    """A folder of images, one sub-folder for each class: columns ``image`` and ``label``."""

    path: str = MISSING
    """The folder. Sub-folders train, validation and test, where all others are absent, are splits."""
    extensions: list[str] = field(
        default_factory=lambda: [".png", ".jpg", ".jpeg", ".bmp", ".gif", ".webp", ".tif", ".tiff"]
    )
    """Files to take, case ignored."""
    limit_per_class: int | None = None
    """Take the first so many images of each class only."""
    labelled: bool = True
    """Whether a sub-folder is a class; if not, every image below the folder is a row, and has no label."""


@dataclass
class DatasetConfig:
    """A Hugging Face dataset by name, or one saved on disk. Needs ``pip install 'matrixhub[datasets]'``."""

    path: str = MISSING
    """Hub id, or a folder written by ``save_to_disk``."""
    subset: str | None = None
    """Configuration of the dataset, such as mrpc of glue."""
    split: Any = None
    """One split only, in the datasets library's syntax, or a mapping of train, validation and test to such;
    None reads all of them as given splits."""
    revision: str | None = None
    """Branch, tag or commit on the hub."""
    limit: int | None = None
    """Read the first so many rows of each split only."""


@dataclass
class ConcatConfig:
    """Pooled features side by side."""


@hookimpl
def matrixhub_components(register: Register) -> None:
    """The core's sources and its one fusion."""
    register("source", "table", "matrixhub.data.tables:TableSource", config=TableConfig)
    register("source", "images", "matrixhub.data.images:ImageFolderSource", config=ImageFolderConfig)
    register("source", "dataset", "matrixhub.data.datasets:DatasetSource", config=DatasetConfig)
    register("fusion", "concat", "matrixhub.run.fusion:Concat", config=ConcatConfig)
