"""A folder of images, one sub-folder for each class, with or without folders for the splits."""

import hashlib
import itertools
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from matrixhub.data.files import file_state, missing_file
from matrixhub.data.split_names import SPLITS, split_name
from matrixhub.data.streams import chunked
from matrixhub.errors import ConfigError, DataError
from matrixhub.types import PATH_FIELD, SPLIT_COLUMN

if TYPE_CHECKING:
    import pyarrow as pa

_ROWS = 4096
_EXTENSIONS = (".png", ".jpg", ".jpeg", ".bmp", ".gif", ".webp", ".tif", ".tiff")


class ImageFolderSource:
    """Columns ``image`` (absolute path) and ``label`` (sub-folder name), sorted by split, class and path.

    The options are those of ``ImageFolderConfig``. Folders inside a class folder are read too; hidden
    files and folders, and files of other extensions, are not. With ``labelled=False`` every image below the
    folder is a row and there is no ``label``.

    Raises:
        DataError: there is no such folder.
        ConfigError: an option that cannot be right.
    """

    def __init__(
        self,
        *,
        path: str,
        extensions: Sequence[str] = _EXTENSIONS,
        limit_per_class: int | None = None,
        labelled: bool = True,
    ) -> None:
        if limit_per_class is not None and limit_per_class < 1:
            raise ConfigError(
                f"limit_per_class is {limit_per_class}: it must be at least 1, or null for all."
            )
        self._root = Path(path).expanduser().absolute()
        if not self._root.is_dir():
            what = (
                f"{path} is a file, not a folder of images."
                if self._root.exists()
                else missing_file(self._root)
            )
            raise DataError(what.replace("There is no file", "There is no folder"))
        self._extensions = tuple("." + extension.lower().lstrip(".") for extension in extensions)
        self._limit, self._labelled = limit_per_class, labelled

    def fingerprint(self) -> str:
        """Changes with the name, size or modification time of any image, and with the options."""
        digest = hashlib.sha256(repr((self._extensions, self._limit)).encode())
        for path, label, split in self._images():
            digest.update(f"{split}\0{label}\0".encode(errors="surrogateescape") + file_state(path))
        return digest.hexdigest()

    def read(self) -> "pa.Table":
        """All rows.

        Raises:
            DataError: no sub-folders, or a class without images.
        """
        import pyarrow as pa

        return pa.concat_tables(self.batches(_ROWS))

    def batches(self, batch_size: int) -> "Iterator[pa.Table]":
        """The rows of ``read()``, ``batch_size`` at a time."""
        import pyarrow as pa

        fields = [pa.field("image", pa.string(), metadata=PATH_FIELD)]
        fields += [pa.field("label", pa.string())] if self._labelled else []
        if self._labelled and self._split_folders():
            fields.append(pa.field(SPLIT_COLUMN, pa.string()))
        for rows in chunked(self._images(), batch_size):
            columns = list(zip(*rows, strict=True))[: len(fields)]
            try:
                yield pa.table(
                    [pa.array(column, pa.string()) for column in columns], schema=pa.schema(fields)
                )
            except UnicodeEncodeError:
                raise DataError(f"{self._root} holds a file name that is not UTF-8: rename it.") from None

    def _images(self) -> Iterator[tuple[str, str, str | None]]:
        """Path, class and split of every image."""
        if not self._labelled:
            images = itertools.islice(self._images_under(self._root), self._limit)
            found = [(path, "", None) for path in images]
            if not found:
                raise DataError(f"{self._root} has no images: {' '.join(self._extensions)} are read.")
            yield from found
            return
        whole: list[tuple[str | None, Path]] = [(None, self._root)]
        for split, folder in self._split_folders() or whole:
            classes = _folders(folder)
            if not classes:
                raise DataError(
                    f"{folder} has no sub-folders: put the images of each class in a folder of its own,"
                    f" such as {folder / 'cat' / '1.jpg'}."
                )
            for name in classes:
                images = itertools.islice(self._images_under(folder / name), self._limit)
                first = next(images, None)
                if first is None:
                    raise DataError(
                        f"The class folder {folder / name} has no images"
                        f" ({' '.join(self._extensions)} are read): put some in or take the folder away."
                    )
                yield from ((path, name, split) for path in itertools.chain([first], images))

    def _images_under(self, folder: Path) -> Iterator[str]:
        for parent, folders, files in os.walk(folder):
            folders[:] = sorted(name for name in folders if not name.startswith("."))
            for name in sorted(files):
                if not name.startswith(".") and name.lower().endswith(self._extensions):
                    yield f"{parent}/{name}"

    def _split_folders(self) -> list[tuple[str, Path]]:
        """Splits and their folders, where every top-level folder is named like a split."""
        names = _folders(self._root)
        if not names or any(split_name(name) is None for name in names):
            return []
        found = sorted((SPLITS.index(split_name(name) or ""), name) for name in names)
        if len({position for position, _ in found}) < len(found):
            raise DataError(f"{self._root} holds one split under two names: {', '.join(names)}. Keep one.")
        return [(SPLITS[position], self._root / name) for position, name in found]


def _folders(path: Path) -> list[str]:
    return sorted(
        entry.name for entry in os.scandir(path) if entry.is_dir() and not entry.name.startswith(".")
    )
