"""Text to token ids: one fast call for many rows, cut to length, padded only in the batch."""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
import torch

from matrixhub import Batch, DataError

Text: TypeAlias = "str | tuple[str, str]"

_CHARS_PER_TOKEN = 10
"""Characters read for each token wanted, at first; natural text needs 1 to 6."""
_MAX_WORD = 1000
"""Characters of a single word that can matter to its first sub-word."""
_MANY_UNKNOWN = 0.1
"""Share of unknown words that is worth a note: text in the language of a vocabulary has next to none."""
_EXPECTED = "expected a text, a pair (tuple) of texts, or a list of words"


@dataclass(frozen=True, slots=True)
class TextItem:
    """One tokenized row.

    Attributes:
        ids: token ids, special tokens included.
        type_ids: 0 for the first text of a pair, 1 for the second; empty where all are 0.
        truncated: whether some of the row did not fit.
        starts: for a row of words, the position of each word's first sub-word, as far as they fit.
        num_words: how many words the row has, cut or not; None for plain text.
    """

    ids: list[int]
    type_ids: list[int]
    truncated: bool
    starts: list[int] | None = None
    num_words: int | None = None


class TextProcessor:
    """Tokenizes texts, pairs of texts, and lists of words.

    Lists of words follow the BERT paper (Devlin et al., 2019, section 5.3): a word is represented by its
    first sub-word, so that heads count in words. A word of which the tokenizer keeps nothing (a lone
    control character) stands as the unknown token; only words that were cut off are masked.

    Args:
        tokenizer: a fast tokenizer of transformers.
        max_length: longest row in tokens.
        prefix: put before every plain text.
    """

    def __init__(self, tokenizer: Any, *, max_length: int, prefix: str = "") -> None:
        self.tokenizer = tokenizer
        self.max_length, self.prefix = max_length, prefix
        self._pad_id = tokenizer.pad_token_id or 0
        self._unknown = tokenizer.unk_token or "?"
        # The backend alone, set up once: nothing below changes it, so threads can share it.
        self._backend = tokenizer.backend_tokenizer
        self._backend.no_padding()
        self._backend.enable_truncation(max_length, strategy="longest_first")
        # Byte-level vocabularies keep the space before a word inside the word.
        as_words, as_text = (
            self._backend.encode(["a", "b"], is_pretokenized=True),
            self._backend.encode("a b"),
        )
        self._space = " " if as_words.ids != as_text.ids else ""

    def prepare(self, values: Sequence[Any]) -> list[TextItem]:
        """Tokenize: ``str``, 2-tuples of ``str`` or lists of ``str`` (words), one kind in a call.

        Raises:
            DataError: a value of another type, or text that is not valid Unicode.
        """
        words = bool(values) and isinstance(values[0], list)
        for row, value in enumerate(values):
            _check(row, value, words=words)
        try:
            return self._words(values) if words else self._texts(values)
        except (TypeError, UnicodeEncodeError):
            _refuse_surrogates(values)
            raise

    def size(self, item: TextItem) -> int:
        """Tokens."""
        return len(item.ids)

    def collate(self, items: Sequence[TextItem]) -> Batch:
        """Pad to the longest row.

        Returns:
            ``input_ids``, ``attention_mask`` and ``token_type_ids``, int64 (B, T); ``truncated``, bool
            (B,); for rows of words ``word_starts``, int64 (B, W), and ``word_mask``, bool (B, W).
        """
        batch = {
            "input_ids": _pad([item.ids for item in items], fill=self._pad_id),
            "attention_mask": _mask([len(item.ids) for item in items]).long(),
            "truncated": torch.tensor([item.truncated for item in items]),
        }
        batch["token_type_ids"] = _pad([item.type_ids for item in items], width=batch["input_ids"].shape[1])
        if items[0].num_words is not None:
            width = max(item.num_words or 0 for item in items)
            starts = [item.starts or [] for item in items]
            batch["word_starts"] = _pad(starts, width=width)
            batch["word_mask"] = _mask([len(row) for row in starts], width=width)
        return batch

    def doubts(self, values: Sequence[Any]) -> Iterator[str]:
        """A sentence where many words are unknown to the vocabulary, as those of another language are."""
        unknown, special = self.tokenizer.unk_token_id, set(self.tokenizer.all_special_ids)
        seen = Counter(token for item in self.prepare(values) for token in item.ids)
        words = sum(count for token, count in seen.items() if token == unknown or token not in special)
        if unknown is not None and seen[unknown] > _MANY_UNKNOWN * words:
            share = seen[unknown] / words
            yield (
                f"{share:.0%} of its tokens are unknown to the encoder's vocabulary, in the first "
                f"{len(values):,} rows of training. An encoder of their language reads them."
            )

    def _texts(self, values: Sequence[Text]) -> list[TextItem]:
        texts = [self.prefix + value if isinstance(value, str) else value for value in values]
        return self._encode(texts, limit=_CHARS_PER_TOKEN * self.max_length)

    def _encode(self, texts: Sequence[Text], *, limit: int) -> list[TextItem]:
        """Tokenize no more than the first ``limit`` characters, or more where that does not fill a row."""
        shortened = [_shorten(text, limit) for text in texts]
        encodings = self._backend.encode_batch_fast(shortened)
        items = [
            TextItem(
                e.ids or [self._pad_id], e.type_ids if isinstance(text, tuple) else [], bool(e.overflowing)
            )
            for text, e in zip(texts, encodings, strict=True)
        ]
        again = [i for i, item in enumerate(items) if shortened[i] != texts[i] and not item.truncated]
        if again:
            longer = self._encode([texts[i] for i in again], limit=8 * limit)
            for i, item in zip(again, longer, strict=True):
                items[i] = item
        return items

    def _words(self, rows: Sequence[list[str]]) -> list[TextItem]:
        # Every word takes a token at least, so the words after max_length cannot fit.
        kept = [[word[:_MAX_WORD] for word in row[: self.max_length]] for row in rows]
        encodings = self._backend.encode_batch([self._spaced(row) for row in kept], is_pretokenized=True)
        return [self._word_item(*given) for given in zip(rows, kept, encodings, strict=True)]

    def _word_item(self, row: list[str], words: list[str], encoding: Any) -> TextItem:
        starts = _first_subwords(encoding.word_ids)
        if vanished := _vanished(starts, len(words), cut=bool(encoding.overflowing)):
            filled = [self._unknown if i in vanished else word for i, word in enumerate(words)]
            encoding = self._backend.encode(self._spaced(filled), is_pretokenized=True)
            starts = _first_subwords(encoding.word_ids)
        cut = bool(encoding.overflowing) or words != row
        return TextItem(encoding.ids or [self._pad_id], [], cut, list(starts.values()), len(row))

    def _spaced(self, words: list[str]) -> list[str]:
        return [self._space + word if i else word for i, word in enumerate(words)]


def _check(row: int, value: Any, *, words: bool) -> None:
    match value:
        case str() | (str(), str()) if not words and not isinstance(value, list):
            return
        case list() if words and all(isinstance(word, str) for word in value):
            return
        case list() if words:
            odd = next(word for word in value if not isinstance(word, str))
            raise DataError(f"a list of words holds a {type(odd).__name__}: every word must be text", row=row)
        case str() | tuple() | list():
            raise DataError(
                f"{_EXPECTED}, the same in every row, and this {type(value).__name__} is not", row=row
            )
        case _:
            raise DataError(f"{_EXPECTED}, not {type(value).__name__}: fill or drop such rows", row=row)


def _refuse_surrogates(values: Sequence[Any]) -> None:
    for row, value in enumerate(values):
        try:
            "".join([value] if isinstance(value, str) else value).encode()
        except UnicodeEncodeError as error:
            raise DataError(
                f"the text holds half a character (U+{ord(error.object[error.start]):04X}, a lone surrogate):"
                f" it was decoded wrongly; read it as UTF-8 with errors='replace'",
                row=row,
            ) from None


def _shorten(text: Text, limit: int) -> Text:
    """The first characters of a long text, up to a space where there is one, so that no word is split."""
    if isinstance(text, tuple):
        return _shorten_one(text[0], limit), _shorten_one(text[1], limit)
    return _shorten_one(text, limit)


def _shorten_one(text: str, limit: int) -> str:
    if len(text) <= limit:
        return text
    space = text.rfind(" ", limit // 2, limit)
    return text[: space if space > 0 else limit]


def _first_subwords(word_ids: Sequence[int | None]) -> dict[int, int]:
    """Word to position of its first sub-word."""
    starts: dict[int, int] = {}
    for position, word in enumerate(word_ids):
        if word is not None:
            starts.setdefault(word, position)
    return starts


def _vanished(starts: dict[int, int], num_words: int, *, cut: bool) -> set[int]:
    """Words without a token that were not cut off."""
    reached = max(starts, default=-1) + 1 if cut else num_words
    return set(range(reached)).difference(starts)


def _pad(rows: Sequence[list[int]], *, fill: int = 0, width: int | None = None) -> torch.Tensor:
    width = max(map(len, rows)) if width is None else width
    padded = np.full((len(rows), width), fill, dtype=np.int64)
    for i, row in enumerate(rows):
        padded[i, : len(row)] = row
    return torch.from_numpy(padded)


def _mask(lengths: Sequence[int], *, width: int | None = None) -> torch.Tensor:
    width = max(lengths) if width is None else width
    return torch.arange(width) < torch.tensor(lengths)[:, None]
