"""Entities marked by tags: ``B-PER I-PER O`` and its kin, scored whole."""

import re
from collections.abc import Iterable, Sequence

from seqeval.metrics.sequence_labeling import precision_recall_fscore_support

_OUTSIDE = "O"
_TAG = re.compile(r"[BIESLUM]-.+", re.DOTALL)
# Other letters for the same thing: the last word, a single word, a middle word of an entity.
_SAME_AS = {"L": "E", "U": "S", "M": "I"}


def has_entities(classes: Iterable[str]) -> bool:
    """True when the tags mark entities: IOB, IOB2, IOE, IOBES, BILOU or BMES."""
    marks = [tag for tag in classes if tag != _OUTSIDE]
    return bool(marks) and all(_TAG.fullmatch(tag) for tag in marks)


def entity_scores(truth: Sequence[Sequence[str]], predicted: Sequence[Sequence[str]]) -> dict[str, float]:
    """Precision, recall and F1 over all entities; one counts when its type and both ends are right.

    The lenient reading of the CoNLL-2000 script (Tjong Kim Sang & Buchholz 2000): an entity may begin
    without its ``B-``. 0 where there is no entity.
    """
    precision, recall, f1, _ = precision_recall_fscore_support(
        _plain(truth), _plain(predicted), average="micro", zero_division=0
    )
    return {"entity_f1": float(f1), "entity_precision": float(precision), "entity_recall": float(recall)}


def _plain(rows: Sequence[Sequence[str]]) -> list[list[str]]:
    return [[_SAME_AS.get(tag[:1], tag[:1]) + tag[1:] for tag in tags] for tags in rows]
