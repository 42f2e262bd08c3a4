"""Which token comes next: the likeliest, or one that is drawn; and what a checkpoint forbids.

Shape suffixes: B rows, V tokens of the vocabulary, T tokens of a row.
"""

import hashlib
from collections.abc import Sequence
from typing import Any

import torch
import transformers
from torch import Tensor


def processors(config: Any, ends: Sequence[int]) -> list[Any]:
    """What the checkpoint's own generation config does to logits, each as ``f(ids_BT, logits_BV)``."""
    wanted = {
        "repetition_penalty": (transformers.RepetitionPenaltyLogitsProcessor, 1.0),
        "no_repeat_ngram_size": (transformers.NoRepeatNGramLogitsProcessor, 0),
        "forced_bos_token_id": (transformers.ForcedBOSTokenLogitsProcessor, None),
        "suppress_tokens": (transformers.SuppressTokensLogitsProcessor, None),
    }
    found = []
    for name, (kind, nothing) in wanted.items():
        if (value := getattr(config, name, None)) not in (nothing, None):
            found.append(kind(value))
    if words := getattr(config, "bad_words_ids", None):
        found.append(transformers.NoBadWordsLogitsProcessor(words, eos_token_id=list(ends)))
    if (least := getattr(config, "min_length", None)) and ends:
        found.append(transformers.MinLengthLogitsProcessor(least, list(ends)))
    return found


def sampler(seed: int, ids: Sequence[int]) -> torch.Generator:
    """Random numbers of one prompt, the same whatever else is written beside it."""
    said = f"{seed}:{','.join(map(str, ids))}".encode()
    number = int.from_bytes(hashlib.blake2b(said, digest_size=8).digest(), "big")
    return torch.Generator().manual_seed(number >> 1)


def greedy(logits_BV: Tensor) -> list[int]:
    """The likeliest token of each row."""
    return list(logits_BV.argmax(dim=-1).tolist())


def drawn(
    logits_BV: Tensor, samplers: Sequence[torch.Generator], *, temperature: float, top_p: float
) -> list[int]:
    """One token a row, of the likeliest that have ``top_p`` of the probability together."""
    shares_BV, tokens_BV = (logits_BV.float() / temperature).softmax(dim=-1).sort(dim=-1, descending=True)
    sums_BV = shares_BV.cumsum(dim=-1)
    kept_BV = shares_BV * (sums_BV - shares_BV < top_p)
    sums_BV = kept_BV.cumsum(dim=-1)
    chance_B1 = torch.stack([torch.rand(1, generator=one) for one in samplers]).to(logits_BV.device)
    # Below the sum, so that a share of nothing is never met.
    places_B1 = torch.searchsorted(sums_BV, chance_B1 * sums_BV[:, -1:], right=True)
    most_B1 = (kept_BV > 0).sum(dim=-1, keepdim=True) - 1
    return list(tokens_BV.gather(1, places_B1.minimum(most_B1)).squeeze(1).tolist())
