"""A corpus as token ids in a few flat arrays: 5 bytes a token, whatever the number of documents."""

import hashlib
import itertools
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from matrixhub import DataError
from matrixhub_pretraining.corpus import Corpus

_DOCUMENTS = 512
"""Tokenized in one call, on all cores."""


@dataclass(frozen=True, slots=True, eq=False)
class Tokens:
    """Documents of one side.

    Attributes:
        ids: of all tokens, int32 (N,), without special ones.
        starts: whether a token begins a word, bool (N,).
        sentences: where each sentence begins, and the end, int64 (S + 1,).
        documents: the first sentence of each document, and their number, int64 (D + 1,).
        rows: each document's place in the corpus, int64 (D,).
    """

    ids: NDArray[np.int32]
    starts: NDArray[np.bool_]
    sentences: NDArray[np.int64]
    documents: NDArray[np.int64]
    rows: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.rows)


class _Side:
    def __init__(self) -> None:
        self.ids: list[NDArray[np.int32]] = []
        self.starts: list[NDArray[np.bool_]] = []
        self.lengths: list[int] = []
        self.counts: list[int] = []
        self.rows: list[int] = []

    def add(self, row: int, encodings: list[Any]) -> None:
        """A document, unless it holds no token."""
        full = [one for one in encodings if one.ids]
        if not full:
            return
        for one in full:
            words = np.array(one.word_ids, dtype=object)
            self.ids.append(np.array(one.ids, dtype=np.int32))
            self.starts.append(np.concatenate([[True], words[1:] != words[:-1]]).astype(bool))
            self.lengths.append(len(one.ids))
        self.counts.append(len(full))
        self.rows.append(row)

    def tokens(self) -> Tokens:
        return Tokens(
            np.concatenate([np.empty(0, np.int32), *self.ids]),
            np.concatenate([np.empty(0, bool), *self.starts]),
            np.cumsum([0, *self.lengths]),
            np.cumsum([0, *self.counts]),
            np.array(self.rows, dtype=np.int64),
        )


def tokenize(corpus: Corpus, tokenizer: Any) -> tuple[Tokens, Tokens, str]:
    """Training and held-out tokens, and a digest of all documents and of the pieces.

    Raises:
        DataError: a side is left without documents.
    """
    backend = tokenizer.backend_tokenizer
    backend.no_padding()
    backend.no_truncation()
    digest = hashlib.sha256(repr(sorted(backend.get_vocab().items())).encode())
    sides = {False: _Side(), True: _Side()}
    for some in _batched(enumerate(corpus)):
        cut = [corpus.sentences(document) for _, document in some]
        encoded = iter(backend.encode_batch([s for found in cut for s in found], add_special_tokens=False))
        for (row, document), found in zip(some, cut, strict=True):
            digest.update(hashlib.sha256(document.encode()).digest())
            sides[corpus.is_held_out(document)].add(row, list(itertools.islice(encoded, len(found))))
    train, held_out = sides[False].tokens(), sides[True].tokens()
    _require(train, held_out, corpus.options.held_out)
    return train, held_out, digest.hexdigest()


def _batched(items: Iterator[tuple[int, str]]) -> Iterator[list[tuple[int, str]]]:
    while some := list(itertools.islice(items, _DOCUMENTS)):
        yield some


def _require(train: Tokens, held_out: Tokens, share: float) -> None:
    if not len(train):
        raise DataError("No document is left to train on: give more texts, or a smaller corpus.held_out.")
    if share and not len(held_out):
        raise DataError(
            f"None of the {len(train)} documents is held out: give more texts, or a larger corpus.held_out"
            f" ({share} now), or 0 to do without. In a text file, blank lines separate documents."
        )
