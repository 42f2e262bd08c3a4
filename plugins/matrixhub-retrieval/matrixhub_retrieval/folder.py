"""An index on disk: ``vectors.usearch``, ``rows.parquet`` (row i has vector i) and ``index.json``."""

import hashlib
import json
import os
import shutil
from pathlib import Path
from typing import Any

from pyarrow import parquet

from matrixhub import DataError, load
from matrixhub_retrieval.index import SearchIndex

VECTORS, ROWS, ABOUT = "vectors.usearch", "rows.parquet", "index.json"


def beside(artifact: Path) -> Path:
    """Where the index of an artifact is, unless it is put elsewhere."""
    return artifact.parent / f"{artifact.name}.index"


def save_index(index: SearchIndex, folder: Path) -> None:
    """Write an index; another one in its place stays whole until this one is.

    Raises:
        DataError: the folder holds something else, or cannot be written.
    """
    if is_there(folder) and not (folder / ABOUT).is_file():
        raise DataError(f"{folder} is there, and is no index: choose another folder with --out.")
    staging, old = folder.with_name(f".{folder.name}.{os.getpid()}"), _former(folder)
    try:
        for left in (staging, old):
            shutil.rmtree(left, ignore_errors=True)
        staging.mkdir(parents=True)
        index.vectors.save(str(staging / VECTORS))
        assert index.rows is not None
        parquet.write_table(index.rows, staging / ROWS)
        about = {
            "artifact": str(index.product.folder.resolve()),
            "cell": index.product.manifest["cell"],
            "input": index.name,
            "files": {name: _sha256(staging / name) for name in (VECTORS, ROWS)},
        }
        (staging / ABOUT).write_text(json.dumps(about, indent=2), "utf-8")
        if folder.exists():
            folder.rename(old)
        staging.rename(folder)
        shutil.rmtree(old, ignore_errors=True)
    except OSError as error:
        raise DataError(f"{folder}: the index cannot be written ({error.strerror}).") from error


def is_there(folder: Path) -> bool:
    """Whether there is something; an index whose writer was ended between two renames is put back."""
    if not folder.exists() and _former(folder).exists():
        _former(folder).rename(folder)
    return folder.exists()


def _former(folder: Path) -> Path:
    return folder.with_name(f".{folder.name}.old")


def load_index(folder: Path, product: Any = None) -> SearchIndex:
    """An index from its folder.

    Args:
        folder: as ``save_index`` wrote it.
        product: it was made by; None loads it from where it was then.

    Raises:
        DataError: it is no index, is damaged, or was made by another product.
    """
    about = read_about(folder)
    if product is None:
        if not Path(about["artifact"]).is_dir():
            raise DataError(
                f"{folder} was made by the artifact {about['artifact']}, which is gone: make another"
                " index, with matrixhub index ARTIFACT ROWS."
            )
        product = load(about["artifact"])
    if product.manifest["cell"] != about["cell"]:
        raise DataError(
            f"{folder} was made by another product, the artifact {about['artifact']}: choose another folder"
            " with --out."
        )
    for name, digest in about["files"].items():
        if _sha256(folder / name) != digest:
            raise DataError(_damaged(folder, name))
    index = SearchIndex(product, about["input"])
    index.vectors.load(str(folder / VECTORS))
    index.rows = parquet.read_table(folder / ROWS)
    return index


def read_about(folder: Path) -> dict[str, Any]:
    """What an index says of itself.

    Raises:
        DataError: it is no index.
    """
    try:
        about: dict[str, Any] = json.loads((folder / ABOUT).read_text("utf-8"))
        if set(about["files"]) != {VECTORS, ROWS}:
            raise KeyError("files")
        return about
    except (OSError, ValueError, KeyError, TypeError):
        raise DataError(
            f"{folder} is no index. Make one: matrixhub index ARTIFACT ROWS --out {folder}"
        ) from None


def _sha256(path: Path) -> str:
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError:
        return ""


def _damaged(folder: Path, name: str) -> str:
    return f"{folder}: {name} is damaged. Make the index again: matrixhub index ARTIFACT ROWS."
