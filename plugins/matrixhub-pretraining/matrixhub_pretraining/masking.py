"""Which tokens are to be guessed, and what stands in their place (Devlin et al. 2019, appendix A.1)."""

import numpy as np
from numpy.typing import NDArray

Ids = NDArray[np.int64]

HIDDEN, CHANGED = 0.8, 0.1
"""Of the tokens to be guessed: the mask's share, and that of a random token; the rest stays as it is."""


def choose(candidates: Ids, starts: NDArray[np.bool_], *, share: float, rng: np.random.Generator) -> Ids:
    """Positions to be guessed, ascending: ``share`` of the candidates, one at least.

    Args:
        candidates: positions of tokens that are not special, ascending.
        starts: whether each of them begins a word; its pieces are chosen together. All true: each alone.
        share: of the candidates.
        rng: of the choice.
    """
    wanted = max(1, round(share * len(candidates)))
    if starts.all():
        return np.sort(rng.permutation(candidates)[:wanted])
    bounds = [0, *(np.flatnonzero(starts[1:]) + 1).tolist(), len(candidates)]
    chosen: list[Ids] = []
    count = 0
    for word in rng.permutation(len(bounds) - 1):
        pieces = candidates[bounds[word] : bounds[word + 1]]
        # A word that would be too much is left out, but something has to be chosen.
        if not chosen or count + len(pieces) <= wanted:
            chosen.append(pieces)
            count += len(pieces)
        if count >= wanted:
            break
    return np.sort(np.concatenate(chosen))


def replace(ids: Ids, *, mask: int, ordinary: Ids, rng: np.random.Generator) -> Ids:
    """What the model reads in place of tokens to be guessed.

    Args:
        ids: the tokens.
        mask: id of ``[MASK]``.
        ordinary: ids that are not special, to draw from.
        rng: of the draws.
    """
    draws = rng.random(len(ids))
    others = ordinary[rng.integers(len(ordinary), size=len(ids))]
    return np.where(draws < HIDDEN, mask, np.where(draws < HIDDEN + CHANGED, others, ids))
