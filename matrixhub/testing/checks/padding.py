"""Checks that a row's features are its own: alone or in a batch, padded or not."""

from typing import Any

from matrixhub.testing.check import check, fail, skip
from matrixhub.testing.checks.encoder import all_rows, ask
from matrixhub.testing.compare import apart, tolerance
from matrixhub.testing.subject import Subject
from matrixhub.types import Features


@check("encoder", needs=("declared_shapes", "deterministic_in_eval", "processor_reads_rows_alone"))
def independent_of_batch(subject: Subject) -> None:
    """A row has the same features alone and among others of its size, in any order: features are stored by
    row, and batches are made as it suits the machine.

    Mend: nothing may be taken over the rows of a batch in eval mode (a mean, a norm, a top-k, ranks of rows).
    """
    groups = _by_size(subject)
    items = max(groups.values(), key=len)
    if len(items) < 2:
        skip("no two rows of one size: declare some under [rows] in conformance.toml")
    for order in (items, items[::-1]):
        together = ask(subject, order)
        for place, item in enumerate(order):
            _compare(ask(subject, [item]), together, place, f"in a batch of {len(order)} of its size")


@check("encoder", needs=("independent_of_batch",))
def independent_of_padding(subject: Subject) -> None:
    """A row has the same features alone and beside a longer one, to whose length it is padded.

    Mend: take sums, means and maxima over real tokens only, by a mask of the batch, and give attention the
    mask too.
    """
    groups = _by_size(subject)
    if len(groups) < 2:
        skip("all rows have one size: nothing is padded")
    longest = groups[max(groups)][0]
    for size in sorted(groups)[:-1]:
        for item in groups[size]:
            together = ask(subject, [item, longest])
            _compare(ask(subject, [item]), together, 0, f"padded from size {size} to {max(groups)}")


def _by_size(subject: Subject) -> dict[int, list[Any]]:
    """Prepared rows by their size."""
    processor = subject.built.processor
    with subject.watched():
        items = processor.prepare(all_rows(subject))
    groups: dict[int, list[Any]] = {}
    for item in items:
        groups.setdefault(int(processor.size(item)), []).append(item)
    return groups


def _compare(alone: Features, together: Features, place: int, how: str) -> None:
    difference = apart(alone.pooled_BD[0], together.pooled_BD[place])
    if difference > tolerance(alone.pooled_BD):
        largest = float(alone.pooled_BD.abs().max())
        fail(
            f"{how}, a row's pooled features differ by {difference:.3g} from those alone "
            f"(the largest is {largest:.3g})"
        )
    if alone.tokens_BTD is None or alone.mask_BT is None:
        return
    assert together.tokens_BTD is not None and together.mask_BT is not None
    one, two = alone.tokens_BTD[0][alone.mask_BT[0]], together.tokens_BTD[place][together.mask_BT[place]]
    if len(one) != len(two):
        fail(f"{how}, a row has {len(two)} real tokens and {len(one)} alone")
    if (difference := apart(one, two)) > tolerance(one):
        fail(f"{how}, a row's token features differ by {difference:.3g} from those alone")
