"""Examples as batches of tensors: the same global batches on any number of processes.

Shape suffixes: B examples, T tokens, M tokens to be guessed.
"""

from collections.abc import Generator, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from matrixhub_pretraining.examples import DOCUMENT, FIRST, RANDOM, SECOND, Examples, make_examples
from matrixhub_pretraining.masking import choose, replace
from matrixhub_pretraining.options import PretrainConfig
from matrixhub_pretraining.tokens import Tokens

HELD_OUT = 0
"""The epoch whose pairs and masks score what is held out; training begins with 1."""
_AHEAD = 2

Batch = dict[str, Tensor]
Taken = tuple[Examples, int, int]
"""The examples of an epoch, the epoch, and the position of one of them."""


class Place(NamedTuple):
    """Where in the endless stream of examples training is."""

    epoch: int = 1
    position: int = 0


class Making(Protocol):
    """What makes batches of one side; an example is a row of six numbers, of which the last is the document.

    Attributes:
        options: of the pre-training.
        rows: each document's place in the corpus, int64.
    """

    @property
    def options(self) -> PretrainConfig: ...

    @property
    def rows(self) -> NDArray[np.int64]: ...

    def examples(self, epoch: int) -> Examples:
        """All of an epoch, in an order of its own."""
        ...

    def batch(self, taken: Sequence[Taken]) -> Batch:
        """Tensors, of which ``guess`` has one row for each thing to be guessed."""
        ...


@dataclass(frozen=True, slots=True)
class Marks:
    """Token ids with a meaning of their own.

    Attributes:
        cls, sep, pad, mask: those of BERT.
        ordinary: all ids that are not special, int64.
    """

    cls: int
    sep: int
    pad: int
    mask: int
    ordinary: NDArray[np.int64]


def marks_of(tokenizer: Any) -> Marks:
    """Of a tokenizer that has all of them."""
    special = set(tokenizer.all_special_ids)
    ordinary = np.array(sorted(set(tokenizer.get_vocab().values()) - special), dtype=np.int64)
    ids = (tokenizer.cls_token_id, tokenizer.sep_token_id, tokenizer.pad_token_id, tokenizer.mask_token_id)
    return Marks(*ids, ordinary)


@dataclass(frozen=True, slots=True)
class Maker:
    """Makes batches of the examples of one side.

    Attributes:
        tokens: of that side.
        marks: special tokens.
        options: of the pre-training.
    """

    tokens: Tokens
    marks: Marks
    options: PretrainConfig

    @property
    def rows(self) -> NDArray[np.int64]:
        """Each document's place in the corpus."""
        return self.tokens.rows

    def examples(self, epoch: int) -> Examples:
        """All of an epoch, in a random order of its own."""
        seed = self.options.trainer.seed
        objective = self.options.objective
        made = make_examples(
            self.tokens,
            max_length=objective.max_length,
            pairs=self.options.pairs,
            short=objective.short,
            seed=f"{seed} {epoch}",
        )
        return made[np.random.default_rng([seed, epoch]).permutation(len(made))]

    def batch(self, taken: Sequence[Taken]) -> Batch:
        """Examples, of several epochs too; masks depend on nothing but seed, epoch and position.

        Returns:
            ``input_ids``, ``attention_mask``, ``token_type_ids``, int64 (B, T); ``masked``, int64 (M,), where
            in the flat (B * T) tokens are to be guessed; ``guess``, int64 (M,), these tokens; ``random``,
            int64 (B,), 1 where the second text is a random one.
        """
        seed = self.options.trainer.seed
        items = [self._item(examples[at], [seed, epoch, at]) for examples, epoch, at in taken]
        width = max(len(ids) for ids, *_ in items)
        input_ids = np.full((len(items), width), self.marks.pad, dtype=np.int64)
        lengths = np.array([len(ids) for ids, *_ in items])
        types = np.zeros_like(input_ids)
        for row, (ids, num_first, _, _) in enumerate(items):
            input_ids[row, : len(ids)] = ids
            types[row, num_first : len(ids)] = 1
        arrays = {
            "input_ids": input_ids,
            "attention_mask": (np.arange(width) < lengths[:, None]).astype(np.int64),
            "token_type_ids": types,
            "masked": np.concatenate([row * width + chosen for row, (_, _, chosen, _) in enumerate(items)]),
            "guess": np.concatenate([guess for *_, guess in items]),
            "random": np.array([examples[at, RANDOM] for examples, _, at in taken]),
        }
        return {name: torch.from_numpy(array) for name, array in arrays.items()}

    def _item(self, example: NDArray[np.int64], seed: list[int]) -> tuple[Any, int, Any, Any]:
        """Masked ids, how many belong to the first text, positions to be guessed and what they were."""
        rng, marks, tokens = np.random.default_rng(seed), self.marks, self.tokens
        (a, b), (c, d) = example[FIRST], example[SECOND]
        second = np.concatenate([tokens.ids[c:d], [marks.sep]]) if d > c else np.empty(0, np.int64)
        ids = np.concatenate([[marks.cls], tokens.ids[a:b], [marks.sep], second]).astype(np.int64)
        num_first = b - a + 2
        candidates = np.concatenate([np.arange(1, b - a + 1), np.arange(num_first, num_first + d - c)])
        objective = self.options.objective
        starts = np.concatenate([tokens.starts[a:b], tokens.starts[c:d]])
        # Words may have lost pieces to the cut; what begins a text begins a word.
        starts[[0, *([b - a] if d > c else [])]] = True
        chosen = choose(
            candidates,
            starts if objective.whole_word else np.ones_like(starts),
            share=objective.masked,
            rng=rng,
        )
        guess = ids[chosen]
        ids[chosen] = replace(guess, mask=marks.mask, ordinary=marks.ordinary, rng=rng)
        return ids, num_first, chosen, guess


@dataclass(frozen=True, slots=True)
class Step:
    """What one process reads for one optimizer step.

    Attributes:
        batches: one for each forward and backward pass; None where there are fewer examples than processes.
        num_examples: of the step, over all processes.
        rows: documents of this process's part, as places in the corpus.
        place: of the example that follows.
    """

    batches: list[Batch | None]
    num_examples: int
    rows: NDArray[np.int64]
    place: Place


def steps(maker: Making, place: Place, *, rank: int = 0, world: int = 1) -> Iterator[Step]:
    """Steps without end from a place in the stream on, epoch after epoch, each of ``batch_size`` examples.

    Those of like length come into one pass of a step.
    """
    size, parts = maker.options.trainer.batch_size, maker.options.trainer.accumulation
    epoch, position = place
    examples = maker.examples(epoch)
    while True:
        taken: list[Taken] = []
        while len(taken) < size:
            if position >= len(examples):
                epoch, position = epoch + 1, 0
                examples = maker.examples(epoch)
            until = min(len(examples), position + size - len(taken))
            taken += [(examples, epoch, at) for at in range(position, until)]
            position = until
        taken.sort(key=lambda one: _length(one[0][one[2]]))
        mine = [taken[i * size // parts : (i + 1) * size // parts][rank::world] for i in range(parts)]
        rows = maker.rows[[one[0][one[2], DOCUMENT] for part in mine for one in part]]
        batches = [maker.batch(part) if part else None for part in mine]
        yield Step(batches, size, rows, Place(epoch, position))


def _length(example: NDArray[np.int64]) -> int:
    return int(example[1] - example[0] + example[3] - example[2])


def ahead(items: Iterator[Step]) -> Generator[Step, None, None]:
    """The same items, made in a thread while the model works on earlier ones."""
    with ThreadPoolExecutor(1) as thread:
        waiting: list[Future[Step]] = [thread.submit(next, items) for _ in range(_AHEAD)]
        try:
            while True:
                yield waiting.pop(0).result()
                waiting.append(thread.submit(next, items))
        finally:
            thread.shutdown(wait=True, cancel_futures=True)
