"""How near a generated text comes to the right answer: the two figures of SQuAD (Rajpurkar et al. 2016)."""

import re
import string
import unicodedata
from collections import Counter
from collections.abc import Sequence

from matrixhub.types import TEXT_METRICS

METRIC = "f1"
"""The main one."""

HAN = "\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003ffff"
"""Ranges of Chinese characters, for a pattern."""

_ARTICLES = re.compile(r"\b(a|an|the)\b")
_TOKEN = re.compile(f"[{HAN}]|[^\\s{HAN}]+")


def tokens(text: str) -> list[str]:
    """Words without case, punctuation and English articles; of Chinese, which has no spaces, characters."""
    folded = unicodedata.normalize("NFKC", text).lower()
    plain = "".join(c for c in folded if c not in string.punctuation and unicodedata.category(c)[0] != "P")
    return _TOKEN.findall(_ARTICLES.sub(" ", plain))


def exact_match(said: str, truth: str) -> float:
    """1 where all tokens are the same, else 0."""
    return float(tokens(said) == tokens(truth))


def f1(said: str, truth: str) -> float:
    """Harmonic mean of the shares of tokens that are right and that are found; of two empty texts, 1."""
    found, wanted = tokens(said), tokens(truth)
    if not found or not wanted:
        return float(found == wanted)
    common = (Counter(found) & Counter(wanted)).total()
    return 2 * common / (len(found) + len(wanted))


def metrics(said: Sequence[str], truth: Sequence[str], more: Sequence[str] = ()) -> dict[str, float]:
    """Means over rows, of which there is at least one; then those of ``more`` that compare texts.

    Raises:
        PluginError: as ``likeness``.
    """
    pairs = list(zip(said, truth, strict=True))
    more = [name for name in more if name in TEXT_METRICS]
    return {
        METRIC: sum(f1(*pair) for pair in pairs) / len(pairs),
        "exact_match": sum(exact_match(*pair) for pair in pairs) / len(pairs),
        **(_likeness(said, truth, more) if more else {}),
    }


def _likeness(said: Sequence[str], truth: Sequence[str], more: Sequence[str]) -> dict[str, float]:
    from matrixhub.run.likeness import likeness

    return likeness(said, truth, more)
