"""Documents out of text files, tables and sources, one after the other, and which of them are held out."""

import glob
import hashlib
import unicodedata
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from matrixhub import ConfigError, DataError, create
from matrixhub_pretraining.options import CorpusConfig
from matrixhub_pretraining.sentences import sentences

TEXT_SUFFIXES = (".txt", ".text")
_ROWS = 1024


class Corpus:
    """Texts, one document at a time, in the same order each time it is walked through.

    Raises:
        DataError, ConfigError: files or a source that are not there.
    """

    def __init__(self, options: CorpusConfig) -> None:
        self.options = options
        self._files: list[Path] = []
        if options.source is not None:
            self._source = create("source", options.source, **options.options)
            return
        if options.options:
            raise ConfigError("corpus.options are those of a source, and corpus.path names files.")
        patterns = options.path if isinstance(options.path, list) else [options.path]
        files = [path for pattern in patterns for path in _found(str(pattern))]
        texts = [path for path in files if path.suffix.lower() in TEXT_SUFFIXES]
        if texts and len(texts) < len(files):
            raise ConfigError("corpus.path names text files and tables: give one kind of files.")
        self._files = texts
        if not texts:
            self._source = create("source", "core.table", path=[str(path) for path in files])

    def __iter__(self) -> Iterator[str]:
        if self._files:
            return (document for path in self._files for document in _documents(path))
        return self._rows()

    def is_held_out(self, document: str) -> bool:
        """Whether the document is only scored on: by its content, so that copies are on one side."""
        text = unicodedata.normalize("NFKC", document).casefold()
        content = f"{self.options.seed}\0{' '.join(text.split())}"
        digest = hashlib.sha256(content.encode(errors="surrogatepass")).digest()
        return int.from_bytes(digest[:8], "big") < self.options.held_out * 2**64

    def sentences(self, document: str) -> list[str]:
        """Its sentences."""
        lines = filter(None, (line.strip() for line in document.splitlines()))
        if not self.options.cut:
            return list(lines)
        return [sentence for line in lines for sentence in sentences(line)]

    def training_sentences(self) -> Iterator[str]:
        """Those of all documents that are not held out."""
        return (
            sentence
            for document in self
            if not self.is_held_out(document)
            for sentence in self.sentences(document)
        )

    def _rows(self) -> Iterator[str]:
        row, name = 0, self.options.column
        for table in self._source.batches(_ROWS):
            if name not in table.column_names:
                there = ", ".join(table.column_names)
                raise DataError(f"there is no column '{name}'. Type: corpus.column=NAME, one of {there}.")
            for value in table.column(name).to_pylist():
                if value is not None:
                    yield _text(value, row=row, column=name)
                row += 1


def _text(value: Any, *, row: int, column: str) -> str:
    if not isinstance(value, str):
        raise DataError(f"a text is expected, not {type(value).__name__}", row=row, column=column)
    try:
        value.encode()
    except UnicodeEncodeError:
        raise DataError("the text is not valid Unicode", row=row, column=column) from None
    return value


def _found(pattern: str) -> Sequence[Path]:
    path = Path(pattern).expanduser()
    if path.is_dir():
        raise DataError(f"{pattern} is a folder: write '{pattern.rstrip('/')}/*.txt' for its text files.")
    if path.exists():
        return [path]
    matches = sorted(glob.glob(str(path), recursive=True))  # noqa: PTH207 - it may be absolute
    if not matches:
        raise DataError(f"There is no file {pattern} (paths start from the folder you are in).")
    return [Path(match) for match in matches if Path(match).is_file()]


def _documents(path: Path) -> Iterator[str]:
    """Documents of a text file, between blank lines."""
    lines: list[str] = []
    try:
        with path.open(encoding="utf-8-sig") as file:
            for line in file:
                if line.strip():
                    lines.append(line)
                elif lines:
                    yield "".join(lines)
                    lines = []
    except UnicodeDecodeError as error:
        raise DataError(f"{path} is not UTF-8: convert it, or leave it out.") from error
    if lines:
        yield "".join(lines)
