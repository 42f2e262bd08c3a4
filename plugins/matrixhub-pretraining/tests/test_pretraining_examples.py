"""Pairs and masks against cases made by hand."""

import random
from typing import Any

import numpy as np
import pytest
from matrixhub_pretraining.batches import Maker, Marks, Place, steps
from matrixhub_pretraining.examples import DOCUMENT, FIRST, RANDOM, SECOND, Range, make_examples, truncated
from matrixhub_pretraining.masking import choose, replace
from matrixhub_pretraining.options import PretrainConfig, compose
from matrixhub_pretraining.tokens import Tokens

MARKS = Marks(cls=2, sep=3, pad=0, mask=4, ordinary=np.arange(5, 105))
"""Tokens 5 to 104 are ordinary."""


def tokens(documents: list[list[int]], pieces: int = 1) -> Tokens:
    """Documents by the lengths of their sentences; tokens count up from 5, words have so many pieces."""
    lengths = [length for document in documents for length in document]
    total = sum(lengths)
    return Tokens(
        ids=(5 + np.arange(total) % 100).astype(np.int32),
        starts=np.arange(total) % pieces == 0,
        sentences=np.cumsum([0, *lengths]),
        documents=np.cumsum([0, *map(len, documents)]),
        rows=np.arange(len(documents)),
    )


def made(given: Tokens, seed: int, **options: Any) -> list[tuple[int, ...]]:
    chosen = {"max_length": 100, "pairs": True, "short": 0.0, **options}
    return [tuple(row) for row in make_examples(given, seed=str(seed), **chosen).tolist()]


def test_pairs_of_two_documents_of_two_sentences() -> None:
    """All that can come of them: tokens 0-3 and 3-7 of the first, 7-12 and 12-18 of the second."""
    given = tokens([[3, 4], [5, 6]])
    next_ones = {(0, 3, 3, 7, 0, 0), (7, 12, 12, 18, 0, 1)}
    others = {
        0: {(*first, *second, 1, 0) for first in ((0, 3), (3, 7)) for second in ((7, 18), (12, 18))},
        1: {(*first, *second, 1, 1) for first in ((7, 12), (12, 18)) for second in ((0, 7), (3, 7))},
    }
    allowed = next_ones | others[0] | others[1]
    seen = [row for seed in range(300) for row in made(given, seed)]
    assert set(seen) == allowed
    # After a random second text the sentence it stood for is used again.
    for seed in range(50):
        rows = [row for row in made(given, seed) if row[DOCUMENT] == 0]
        assert rows[0][FIRST] == (0, 3)
        if rows[0][RANDOM]:
            assert rows[1] == (0, 3, 3, 7, 0, 0) or (rows[1][FIRST] == (3, 7) and rows[1][RANDOM])
        else:
            assert rows == [(0, 3, 3, 7, 0, 0)]


def test_half_of_the_pairs_are_random_and_of_another_document() -> None:
    given = tokens([[4, 7, 5, 6, 3, 8, 5, 4]] * 40)
    rows = np.array([row for seed in range(40) for row in made(given, seed, max_length=24)])
    assert abs(rows[:, RANDOM].mean() - 0.5) < 0.02
    document_of = np.repeat(np.arange(40), 42)
    is_other = document_of[rows[:, 2]] != rows[:, DOCUMENT]
    assert (is_other == rows[:, RANDOM].astype(bool)).all()
    assert (document_of[rows[:, 0]] == rows[:, DOCUMENT]).all()
    lengths = rows[:, 1] - rows[:, 0] + rows[:, 3] - rows[:, 2]
    assert lengths.max() == 21, "three of 24 are special"
    assert (rows[:, [1, 3]] > rows[:, [0, 2]]).all()


def test_true_pairs_follow_each_other() -> None:
    given = tokens([[4, 7, 5, 6, 3, 8, 5, 4]] * 4)
    for seed in range(20):
        for row in made(given, seed, max_length=200):
            if not row[RANDOM]:
                assert row[1] == row[2]


def test_a_document_of_one_sentence_has_random_pairs_only() -> None:
    rows = made(tokens([[5], [5], [5]]), seed=0)
    assert [row[FIRST] for row in rows] == [(0, 5), (5, 10), (10, 15)]
    assert all(row[RANDOM] for row in rows)


def test_texts_alone_take_whole_sentences_and_lose_no_token() -> None:
    rows = made(tokens([[3, 4, 5], [25], [2]]), seed=0, pairs=False, max_length=10)
    assert rows == [
        *[(0, 7, 0, 0, 0, 0), (7, 12, 0, 0, 0, 0)],
        *[(12, 20, 0, 0, 0, 1), (20, 28, 0, 0, 0, 1), (28, 36, 0, 0, 0, 1), (36, 37, 0, 0, 0, 1)],
        (37, 39, 0, 0, 0, 2),
    ]


def test_the_same_seed_gives_the_same_examples() -> None:
    given = tokens([[4, 7, 5, 6, 3, 8, 5, 4]] * 10)
    assert made(given, 1, short=0.5) == made(given, 1, short=0.5) != made(given, 2, short=0.5)


@pytest.mark.parametrize(
    ("first", "second", "lengths"),
    [
        ((0, 4), (10, 14), (4, 4)),
        ((0, 10), (20, 24), (4, 4)),
        ((0, 4), (10, 20), (4, 4)),
        ((0, 7), (10, 13), (5, 3)),
        ((0, 9), (10, 19), (4, 4)),
        ((0, 1), (10, 40), (1, 7)),
    ],
)
def test_the_longer_text_of_a_pair_is_cut(first: Range, second: Range, lengths: Range) -> None:
    fronts = set()
    for seed in range(30):
        cut = truncated(first, second, 8, random.Random(seed))
        assert tuple(end - start for start, end in cut) == lengths
        for (start, end), whole in zip(cut, (first, second), strict=True):
            assert whole[0] <= start <= end <= whole[1]
        fronts.add(cut)
    assert (len(fronts) > 1) == (sum(lengths) < first[1] - first[0] + second[1] - second[0])


def test_as_many_tokens_are_chosen_as_the_share_says() -> None:
    rng = np.random.default_rng(0)
    for num, wanted in ((1, 1), (3, 1), (10, 2), (20, 3), (100, 15)):
        chosen = choose(np.arange(5, 5 + num), np.ones(num, bool), share=0.15, rng=rng)
        assert len(chosen) == len(set(chosen)) == wanted
        assert chosen.min() >= 5 and (np.diff(chosen) > 0).all()


def test_words_are_chosen_whole_and_no_more_than_the_share() -> None:
    starts = np.array([1, 0, 0, 1, 1, 0, 1, 0, 0, 0, 1, 1, 1, 0, 1, 1, 1, 1, 1, 0], bool)
    word_of = np.cumsum(starts)
    seen = set()
    for seed in range(200):
        chosen = choose(np.arange(20), starts, share=0.2, rng=np.random.default_rng(seed))
        words = set(word_of[chosen])
        assert sorted(chosen) == [i for i in range(20) if word_of[i] in words]
        assert len(chosen) <= 4
        seen |= words
    assert seen == set(word_of)


def test_a_single_long_word_is_chosen_all_the_same() -> None:
    starts = np.array([1, 0, 0, 0], bool)
    chosen = choose(np.arange(4), starts, share=0.15, rng=np.random.default_rng(0))
    assert chosen.tolist() == [0, 1, 2, 3]


def test_of_the_guesses_80_percent_are_hidden_and_10_changed() -> None:
    ids = np.full(200_000, 7)
    ordinary = np.array([7, 8, 9, 10])
    read = replace(ids, mask=4, ordinary=ordinary, rng=np.random.default_rng(0))
    shares = {int(i): float(n) / len(ids) for i, n in zip(*np.unique(read, return_counts=True), strict=True)}
    # A random token is the same one, now and then: 10% and a quarter of 10%.
    wanted = {4: 0.8, 7: 0.125, 8: 0.025, 9: 0.025, 10: 0.025}
    assert shares == pytest.approx(wanted, abs=0.003)


def options(*words: str) -> PretrainConfig:
    return compose(["output=x", "corpus.path=x.txt", "objective.max_length=16", *words])


@pytest.mark.parametrize("whole_word", [False, True])
def test_a_batch_puts_back_to_its_texts(whole_word: bool) -> None:
    given = tokens([[3, 4, 2], [5, 6], [4, 4]], pieces=2)
    maker = Maker(given, MARKS, options(f"objective.whole_word={whole_word}", "objective.masked=0.3"))
    examples = maker.examples(1)
    batch = maker.batch([(examples, 1, at) for at in range(len(examples))])
    ids, types, mask = (
        batch[name].numpy() for name in ("input_ids", "token_type_ids", "attention_mask")
    )  # fmt: skip
    flat = ids.copy().reshape(-1)
    assert set(ids.reshape(-1)[batch["masked"]]) > {4}, "the mask, and others"
    flat[batch["masked"]] = batch["guess"]
    back = flat.reshape(ids.shape)
    for row, example in enumerate(examples):
        first, second = (given.ids[slice(*example[part])] for part in (FIRST, SECOND))
        whole = [2, *first, 3, *second, 3]
        assert back[row].tolist() == whole + [0] * (ids.shape[1] - len(whole))
        assert mask[row].tolist() == [1] * len(whole) + [0] * (ids.shape[1] - len(whole))
        assert types[row].sum() == len(second) + 1 and types[row][: len(first) + 2].sum() == 0
    assert not set(back.reshape(-1)[batch["masked"]]) & {0, 2, 3}, "special tokens are never guessed"
    assert batch["random"].tolist() == examples[:, RANDOM].tolist()


def test_masks_are_others_in_each_epoch_and_the_same_in_any_batch() -> None:
    given = tokens([[4, 7, 5, 6, 3, 8, 5, 4]] * 10)
    maker = Maker(given, MARKS, options())
    first, second = maker.examples(1), maker.examples(2)
    assert first.tolist() != second.tolist()
    together = maker.batch([(first, 1, at) for at in (3, 4, 5)])
    alone = maker.batch([(first, 1, 4)])
    width = alone["input_ids"].shape[1]
    assert together["input_ids"][1, :width].tolist() == alone["input_ids"][0].tolist()
    again = maker.batch([(first, 2, 4)])
    assert again["masked"].tolist() != alone["masked"].tolist()


@pytest.mark.parametrize("accumulation", [1, 3])
def test_processes_share_what_one_alone_reads(accumulation: int) -> None:
    given = tokens([[4, 7, 5, 6]] * 5)
    maker = Maker(given, MARKS, options("trainer.batch_size=7", f"trainer.accumulation={accumulation}"))

    def read(rank: int, world: int) -> list[list[tuple[int, ...]]]:
        """Ids of every example of each of six steps: more than two epochs."""
        found = []
        for step, _ in zip(steps(maker, Place(), rank=rank, world=world), range(6), strict=False):
            assert len(step.batches) == accumulation and step.num_examples == 7
            rows = [row for one in step.batches if one for row in one["input_ids"].tolist()]
            found.append(sorted(tuple(i for i in row if i) for row in rows))
        return found

    alone, parts = read(0, 1), [read(rank, 2) for rank in range(2)]
    assert all(len(step) == 7 for step in alone)
    assert alone == [sorted(a + b) for a, b in zip(*parts, strict=True)]


def test_the_stream_goes_on_at_any_place() -> None:
    maker = Maker(tokens([[4, 7, 5, 6]] * 5), MARKS, options("trainer.batch_size=7"))
    whole = [step for step, _ in zip(steps(maker, Place()), range(5), strict=False)]
    rest = next(steps(maker, whole[2].place))
    wanted, found = whole[3].batches[0], rest.batches[0]
    assert wanted is not None and found is not None
    assert all((wanted[name] == found[name]).all() for name in wanted)
    assert whole[4].place.epoch > 1
