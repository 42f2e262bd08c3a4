"""The simplest honest features of text."""

from collections.abc import Sequence
from typing import Any

from scipy.sparse import csr_matrix
from sklearn.feature_extraction.text import TfidfVectorizer

_WITHOUT_SPACES = "\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff"
_WORD = rf"[{_WITHOUT_SPACES}]|[^\W{_WITHOUT_SPACES}]{{2,}}"


def tfidf(train: Sequence[Any], test: Sequence[Any]) -> tuple[Any, Any]:
    """TF-IDF fitted on ``train``: words and word pairs, or runs of 1 to 3 characters in Chinese text.

    Among words of other scripts, each Chinese or Japanese character is a word.

    Returns:
        Two sparse matrices, one row a value; of width 1 and empty where the text has no words at all.
    """
    train_texts, test_texts = [_plain(v) for v in train], [_plain(v) for v in test]
    words: dict[str, Any] = {"analyzer": "word", "ngram_range": (1, 2), "token_pattern": _WORD}
    characters: dict[str, Any] = {"analyzer": "char", "ngram_range": (1, 3)}
    choices = [characters] if _written_without_spaces(train_texts) else [words, characters]
    for least, options in [(least, options) for options in choices for least in (2, 1)]:
        vectorizer = TfidfVectorizer(**options, min_df=least, sublinear_tf=True)
        try:
            return vectorizer.fit_transform(train_texts), vectorizer.transform(test_texts)
        except ValueError:  # no term is in that many rows
            continue
    return csr_matrix((len(train_texts), 1)), csr_matrix((len(test_texts), 1))


def _plain(value: Any) -> str:
    return value if isinstance(value, str) else " ".join(value)


def _written_without_spaces(texts: Sequence[str]) -> bool:
    """Whether most letters are of Chinese or Japanese script."""
    sample = "".join(text[:200] for text in texts[:: max(len(texts) // 200, 1)])
    letters = [c for c in sample if c.isalpha()]
    return sum("぀" <= c <= "鿿" for c in letters) * 2 > len(letters)
