"""The simplest honest alternatives to a product, scored like it, so that no score stands alone.

Shape legend: N rows, T words of a row, D feature width, C classes.
"""

import math
import warnings
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from matrixhub.data.targets import Encoded
from matrixhub.protocols import Encoder, HasBaseline, Head
from matrixhub.types import Target

MOST_ROWS = 20_000
"""Training rows of a linear baseline; of more it takes so many, evenly spread, and its name says so."""

_TUNING_ROWS = 4_000
_STRENGTHS = (1.0, 0.1, 0.01)  # inverse of regularization, for feature rows of length about 1
_GUESSES = {"classification": "majority class", "multilabel": "majority labels", "regression": "mean"}
_NEVER = -1e9
_IGNORED = -100


@dataclass(frozen=True, slots=True)
class Baseline:
    """One alternative: its name, as printed, and what the head's metrics say of it on the test rows."""

    name: str
    metrics: dict[str, float]


def baselines(
    head: Head,
    *,
    target: Target,
    train_values: Sequence[Any],
    test_values: Sequence[Any],
    train_targets: Encoded,
    test_targets: Encoded,
    encoder: Encoder | None,
    present: tuple[NDArray[np.bool_], NDArray[np.bool_]] | None = None,
) -> list[Baseline]:
    """What one gets without a model, then with a linear model on plain features; simplest first.

    Args:
        head: computes the metrics.
        target: what is learned.
        train_values, test_values: raw values of the product's first input; words of a row as a list, or
            a text cut at white space.
        train_targets, test_targets: as ``encode_target`` gives them; tags also as one array padded
            with -100.
        encoder: of the first input; if it has ``baseline_features``, a linear model is fitted on them.
        present: which training and test rows have that input; the others are answered as without a model.
    """
    if target.task == "token_classification":
        return _of_tags(head, target, train=(train_values, train_targets), test=(test_values, test_targets))
    train, test = np.asarray(train_targets), np.asarray(test_targets)
    guess = _guess(train, target)
    outputs = np.tile(guess, (len(test), *[1] * guess.ndim))
    found = [Baseline(_GUESSES[target.task], _score(head, outputs, test))]
    known, asked = (np.flatnonzero(rows) for rows in present or (np.ones(len(train)), np.ones(len(test))))
    if isinstance(encoder, HasBaseline) and len(known) and len(asked):
        kept = known[_spread_evenly(len(known), MOST_ROWS)]
        x_train, x_test = encoder.baseline_features(
            [train_values[i] for i in kept], [test_values[i] for i in asked]
        )
        x_train, x_test = _scaled(x_train, x_test)
        outputs[asked] = _tuned_outputs(head, target, train=(x_train, train[kept]), x_test=x_test)
        fewer = f", {len(kept):,} rows" if len(kept) < len(known) else ""
        found.append(Baseline(f"{encoder.baseline_name}{fewer}", _score(head, outputs, test)))
    return found


def _score(head: Head, outputs: NDArray[Any], targets: NDArray[Any]) -> dict[str, float]:
    return head.metrics(torch.tensor(outputs, dtype=torch.float32), torch.tensor(targets))


def _guess(train: NDArray[Any], target: Target) -> NDArray[np.float64]:
    """One row of outputs, the same for every row: log frequencies, log odds, or the mean."""
    if target.task == "regression":
        return np.asarray(train.mean(dtype=np.float64))
    if target.task == "multilabel":
        share_C = (train.sum(0) + 0.5) / (len(train) + 1)
        return np.asarray(np.log(share_C / (1 - share_C)))
    return np.asarray(np.log(np.bincount(train, minlength=target.num_outputs) + 1e-3))


def _spread_evenly(num_rows: int, most: int) -> NDArray[np.int64]:
    return np.unique(np.linspace(0, num_rows - 1, min(num_rows, most)).astype(np.int64))


def _scaled(x_train: Any, x_test: Any) -> tuple[Any, Any]:
    """Dense features with mean 0 and rows of length about 1, as sparse ones (TF-IDF) have already."""
    from scipy.sparse import issparse
    from sklearn.preprocessing import StandardScaler

    if issparse(x_train):
        return x_train, x_test
    scaler = StandardScaler().fit(x_train)
    scale = math.sqrt(x_train.shape[1])
    return scaler.transform(x_train) / scale, scaler.transform(x_test) / scale


def _tuned_outputs(
    head: Head, target: Target, *, train: tuple[Any, NDArray[Any]], x_test: Any
) -> NDArray[np.float64]:
    """Outputs of a linear model whose regularization was chosen on a fifth of (some of) its rows.

    An untuned alternative would flatter the product.
    """
    x, y = train
    order = np.random.default_rng(0).permutation(len(y))[:_TUNING_ROWS]
    held, rest = np.split(order, [len(order) // 5])

    def quality(strength: float) -> float:
        outputs = _linear_outputs(x[rest], y[rest], x[held], target=target, strength=strength)
        score = _score(head, outputs, y[held])[head.metric]
        return score if head.higher_is_better else -score

    best = max(_STRENGTHS, key=quality) if len(held) else _STRENGTHS[0]
    return _linear_outputs(x, y, x_test, target=target, strength=best)


def _linear_outputs(
    x: Any, y: NDArray[Any], x_test: Any, *, target: Target, strength: float
) -> NDArray[np.float64]:
    """Fit and apply: (N, C) margins, or (N,) numbers for regression."""
    from sklearn.linear_model import Ridge

    if target.task == "regression":
        return np.asarray(Ridge(alpha=1 / strength).fit(x, y).predict(x_test))
    if target.task == "multilabel":
        columns = [_margins(x, labels, x_test, num_classes=2, strength=strength)[:, 1] for labels in y.T]
        return np.stack(columns, axis=1)
    return _margins(x, y, x_test, num_classes=target.num_outputs, strength=strength)


def _margins(
    x: Any, y: NDArray[Any], x_test: Any, *, num_classes: int, strength: float
) -> NDArray[np.float64]:
    """Margins (N, C) of a linear support vector machine, which is as good as logistic regression on
    such features and, on many classes, up to fifty times as fast."""
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.svm import LinearSVC

    classes = np.unique(y).astype(np.int64)
    margins_NC = np.full((x_test.shape[0], num_classes), _NEVER)
    if len(classes) == 1:
        margins_NC[:, classes] = -_NEVER
        return margins_NC
    with warnings.catch_warnings():
        # Stopped early is good enough for something to compare with, and the user cannot act on it.
        warnings.simplefilter("ignore", ConvergenceWarning)
        model = LinearSVC(C=strength, random_state=0).fit(x, y)
    found = model.decision_function(x_test)
    margins_NC[:, classes] = np.stack([-found, found], axis=1) if found.ndim == 1 else found
    return margins_NC


def _of_tags(
    head: Head, target: Target, *, train: tuple[Sequence[Any], Any], test: tuple[Sequence[Any], Any]
) -> list[Baseline]:
    """The most frequent tag for every word; the most frequent tag of each word."""
    seen: Counter[int] = Counter()
    by_word: defaultdict[str, Counter[int]] = defaultdict(Counter)
    for value, tags in zip(*train, strict=True):
        for word, tag in zip(_words(value), tags, strict=False):  # padding has no word
            if tag != _IGNORED:
                seen[int(tag)] += 1
                by_word[word][int(tag)] += 1
    majority = _commonest(seen)
    tag_of = {word: _commonest(tags) for word, tags in by_word.items()}
    words, truth = [_words(value) for value in test[0]], _padded(test[1])
    looked_up = _padded([[tag_of.get(word, majority) for word in row] for row in words], truth.shape[1])
    one_hot = np.eye(target.num_outputs, dtype=np.float32)
    return [
        Baseline(name, _score(head, one_hot[best.clip(min=0)], truth))
        for name, best in (("majority tag", np.full_like(truth, majority)), ("per-word lookup", looked_up))
    ]


def _words(value: Any) -> list[str]:
    return value.split() if isinstance(value, str) else list(value)


def _commonest(tags: Counter[int]) -> int:
    return min(tags, key=lambda tag: (-tags[tag], tag))


def _padded(rows: Any, width: int | None = None) -> NDArray[np.int64]:
    """Rows of numbers as one array (N, T), at least ``width`` wide."""
    longest = max([width or 1, *(len(row) for row in rows)])
    padded_NT = np.full((len(rows), longest), _IGNORED)
    for padded_T, row in zip(padded_NT, rows, strict=True):
        padded_T[: len(row)] = row
    return padded_NT
