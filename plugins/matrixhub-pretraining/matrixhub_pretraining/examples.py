"""Examples out of documents: pairs of texts for next sentence prediction, or texts alone.

An example is a row of six numbers: the tokens of the first text (from, to), of the second (from, to; equal
where there is none), whether the second is a random one, and the document. Texts are runs of sentences, so
they are runs of tokens too.
"""

import random
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from matrixhub_pretraining.tokens import Tokens

Examples = NDArray[np.int64]
Range = tuple[int, int]
Row = tuple[int, int, int, int, int, int]

FIRST, SECOND, RANDOM, DOCUMENT = slice(0, 2), slice(2, 4), 4, 5


def make_examples(tokens: Tokens, *, max_length: int, pairs: bool, short: float, seed: str) -> Examples:
    """One epoch of examples, (E, 6), in the order of the documents; the same for the same ``seed``.

    Args:
        tokens: of one side.
        max_length: longest example, with its special tokens.
        pairs: two texts of a document that follow each other, or, half of the time, one and a text of
            another document (Devlin et al. 2019); else one text.
        short: share of examples made for a shorter length.
        seed: of all chance.
    """
    rng = random.Random(seed)
    rows: list[Row] = []
    for document in range(len(tokens)):
        first, last = int(tokens.documents[document]), int(tokens.documents[document + 1])
        ends = tokens.sentences[first : last + 1].tolist()
        if pairs:
            rows += _pairs(tokens, document, ends, max_length=max_length - 3, short=short, rng=rng)
        else:
            rows += _alone(document, ends, max_length=max_length - 2, short=short, rng=rng)
    return np.array(rows, dtype=np.int64).reshape(-1, 6)


def _target(max_length: int, short: float, rng: random.Random) -> int:
    return rng.randint(2, max_length) if rng.random() < short else max_length


def _alone(
    document: int, ends: list[int], *, max_length: int, short: float, rng: random.Random
) -> Iterator[Row]:
    """As many whole sentences as fit; one that does not fit alone is cut into pieces."""
    start, target = ends[0], _target(max_length, short, rng)
    for end, following in zip(ends[1:], [*ends[2:], None], strict=True):
        while end - start > max_length:
            yield (start, start + max_length, 0, 0, 0, document)
            start += max_length
        if start < end and (following is None or following - start > target):
            yield (start, end, 0, 0, 0, document)
            start, target = end, _target(max_length, short, rng)


def _pairs(
    tokens: Tokens, document: int, ends: list[int], *, max_length: int, short: float, rng: random.Random
) -> Iterator[Row]:
    """Sentences up to a length, cut in two at a sentence; instead of the second part, half of the time, a
    text of another document, and then the second part is used again. A document of one sentence has no pair
    of its own.
    """
    at, num = 0, len(ends) - 1
    while at < num:
        target, is_random = _target(max_length, short, rng), rng.random() < 0.5
        to = at + 1
        # Two sentences at least, where there are two: a pair needs them.
        while to < num and (ends[to] - ends[at] < target or to == at + 1):
            to += 1
        cut = at + 1 if to - at < 3 else rng.randint(at + 1, to - 1)
        if cut == to and at > 0 and not is_random:
            # A last sentence that is left over follows the one before.
            at, cut = at - 1, at
        first = (ends[at], ends[cut])
        if is_random or cut == to:
            second = _other(tokens, document, target - (first[1] - first[0]), rng)
            is_random, to = True, cut
        else:
            second = (ends[cut], ends[to])
        first, second = truncated(first, second, max_length, rng)
        yield (*first, *second, int(is_random), document)
        at = to


def _other(tokens: Tokens, document: int, length: int, rng: random.Random) -> Range:
    """Sentences of another document, from a random one on."""
    other = rng.randrange(len(tokens) - 1)
    other += other >= document
    first, last = int(tokens.documents[other]), int(tokens.documents[other + 1])
    start = rng.randrange(first, last)
    to = start + 1
    while to < last and tokens.sentences[to] - tokens.sentences[start] < length:
        to += 1
    return int(tokens.sentences[start]), int(tokens.sentences[to])


def truncated(first: Range, second: Range, max_length: int, rng: random.Random) -> tuple[Range, Range]:
    """Both together at most so long: the longer loses tokens, each from its front or back by chance."""
    long, other = first[1] - first[0], second[1] - second[0]
    over = max(0, long + other - max_length)
    # The longer is cut down to the other's length, then both in turn.
    from_first = min(over, max(0, long - other))
    from_second = min(over - from_first, max(0, other - long))
    rest = over - from_first - from_second
    from_first += (rest + 1) // 2
    from_second += rest // 2
    return _cut(first, from_first, rng), _cut(second, from_second, rng)


def _cut(text: Range, num: int, rng: random.Random) -> Range:
    front = sum(rng.random() < 0.5 for _ in range(num))
    return text[0] + front, text[1] - (num - front)
