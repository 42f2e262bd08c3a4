"""Text in all its forms to token ids: cutting, pairs, words, and what is refused (reliability row 21)."""

import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
import torch

from matrixhub import DataError

Build = Callable[..., Any]
Tiny = Callable[[str], str]

HUGE = {
    "words": "a good film, " * 80_000,
    "one word": "x" * 1_000_000,
    "Chinese": "这部电影很好看。" * 125_000,
    "white space": " " * 1_000_000,
    "white space, then words": " " * 10_000 + "a good film " * 80_000,
}
ODD = {
    "empty": "",
    "NUL": "a\x00b",
    "only NUL": "\x00",
    "right to left": "abc \u202e def \u05d0\u05d1\u05d2",
    "combining": "e\u0301" * 5,
    "outside the basic plane": "\U0001f600 \U00020000",
    "special tokens as text": "[SEP] a [CLS] <s>",
}


def reference(encoder: Any, value: Any, **options: Any) -> Any:
    """What transformers' own call gives."""
    return encoder.processor.tokenizer(
        *([text] for text in (value if isinstance(value, tuple) else (value,))),
        truncation=True,
        max_length=encoder.processor.max_length,
        return_token_type_ids=True,
        return_overflowing_tokens=True,
        **options,
    )


@pytest.mark.parametrize("text", [*ODD.values(), *HUGE.values()], ids=[*ODD, *HUGE])
def test_odd_and_huge_text_is_tokenized_as_transformers_does(
    build: Build, tiny: Tiny, family: str, text: str
) -> None:
    encoder = build(checkpoint=tiny(family), max_length=32)
    (item,) = encoder.processor.prepare([text])
    # What follows cannot change the first 32 tokens; the reference would take seconds for it.
    wanted = reference(encoder, text[:20_000]).encodings
    assert item.ids == wanted[0].ids
    assert item.truncated == (len(wanted) > 1)
    assert encoder(encoder.processor.collate([item])).pooled_BD.isfinite().all()


def test_a_megabyte_of_words_is_cut_before_it_is_tokenized(build: Build, tiny: Tiny) -> None:
    processor = build(checkpoint=tiny("bert"), max_length=32).processor
    start = time.perf_counter()
    processor.prepare([HUGE["words"]] * 100)
    ours = time.perf_counter() - start
    start = time.perf_counter()
    processor.tokenizer(HUGE["words"], truncation=True, max_length=32)
    assert ours < time.perf_counter() - start


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        (None, "not NoneType"),
        (3.0, "not float"),
        (b"bytes", "not bytes"),
        (["a", "word"], "the same in every row"),
        (("a", "b", "c"), "the same in every row"),
        (("a", None), "the same in every row"),
        ("half \ud83d an emoji", r"U\+D83D, a lone surrogate"),
        (("fine", "\udc80"), r"U\+DC80, a lone surrogate"),
    ],
)
def test_what_is_no_text_is_refused_by_its_row(build: Build, tiny: Tiny, bad: Any, message: str) -> None:
    processor = build(checkpoint=tiny("bert"), max_length=32).processor
    with pytest.raises(DataError, match=message) as caught:
        processor.prepare(["fine", "fine", bad, "fine"])
    assert caught.value.row == 2
    assert "emoji" not in str(caught.value)


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        ("plain text", "the same in every row"),
        (["a", None], "holds a NoneType"),
        (["a", "\ud83d"], "a lone surrogate"),
        (None, "not NoneType"),
    ],
)
def test_what_are_no_words_is_refused_by_its_row(build: Build, tiny: Tiny, bad: Any, message: str) -> None:
    processor = build(checkpoint=tiny("bert"), max_length=32).processor
    with pytest.raises(DataError, match=message) as caught:
        processor.prepare([["fine"], bad])
    assert caught.value.row == 1


def test_pairs_are_encoded_together(build: Build, tiny: Tiny, family: str) -> None:
    encoder = build(checkpoint=tiny(family), max_length=24)
    pairs = [("a film", "a wonder"), ("short", "long " * 4_000), ("long " * 4_000, "short"), ("", "")]
    items = encoder.processor.prepare(pairs)
    for pair, item in zip(pairs, items, strict=True):
        wanted = reference(encoder, pair)
        assert item.ids == wanted["input_ids"][0]
        assert item.type_ids == wanted["token_type_ids"][0]
    assert [item.truncated for item in items] == [False, True, True, False]
    batch = encoder.processor.collate(items)
    assert batch["truncated"].tolist() == [False, True, True, False]
    assert encoder(batch).pooled_BD.shape == (4, 32)


def test_bert_tells_the_second_text_of_a_pair(build: Build, tiny: Tiny) -> None:
    encoder = build(checkpoint=tiny("bert"), max_length=24)
    batch = encoder.processor.collate(encoder.processor.prepare([("a film", "a wonder")]))
    with torch.inference_mode():
        told = encoder(batch).pooled_BD
        untold = encoder({**batch, "token_type_ids": torch.zeros_like(batch["token_type_ids"])}).pooled_BD
    assert not torch.allclose(told, untold)


def test_words_are_their_first_subwords(build: Build, tiny: Tiny, family: str) -> None:
    encoder = build(checkpoint=tiny(family), max_length=48)
    rows = [["unbelievable", "film", "!"], ["storytelling"], ["a", "wonder", "café", "miss", "it"]]
    items = encoder.processor.prepare(rows)
    batch = encoder.processor.collate(items)
    assert batch["word_mask"].tolist() == [[i < len(row) for i in range(5)] for row in rows]
    with torch.inference_mode():
        features = encoder(batch)
        for i, (row, item) in enumerate(zip(rows, items, strict=True)):
            # Spaced words are the same text, whatever the tokenizer does with spaces.
            spaced = encoder.processor.tokenizer(" ".join(row), return_tensors="pt")
            assert item.ids == spaced["input_ids"][0].tolist()
            places = [len(" ".join(row[:j])) for j in range(len(row))]
            # The space belongs to the word where the tokenizer keeps it; one token, [CLS], is before all.
            starts = [1, *(spaced.char_to_token(p) or spaced.char_to_token(p + 1) for p in places[1:])]
            hidden_TD = encoder.model(spaced["input_ids"]).last_hidden_state[0]
            torch.testing.assert_close(
                features.tokens_BTD[i, : len(row)], hidden_TD[starts], atol=1e-5, rtol=0
            )


def test_words_that_do_not_fit_are_masked(build: Build, tiny: Tiny, family: str) -> None:
    encoder = build(checkpoint=tiny(family), max_length=16)
    items = encoder.processor.prepare([["word"] * 300, ["a", "b"], [], ["y" * 100_000, "z"]])
    batch = encoder.processor.collate(items)
    features = encoder(batch)
    assert batch["truncated"].tolist() == [True, False, False, True]
    assert features.tokens_BTD.shape == (4, 300, 32) and features.mask_BT.shape == (4, 300)
    num_kept = features.mask_BT.sum(1).tolist()
    assert 0 < num_kept[0] < 16 and num_kept[1:3] == [2, 0]
    assert features.mask_BT[0, : num_kept[0]].all()
    assert features.mask_BT[3, 0]


@pytest.mark.parametrize("nothing", ["", "\u200b", "\x00", " "])
def test_a_word_of_which_nothing_is_kept_still_counts(
    build: Build, tiny: Tiny, family: str, nothing: str
) -> None:
    processor = build(checkpoint=tiny(family), max_length=32).processor
    rows = [["a", nothing, "film"], [nothing], ["film", nothing]]
    items = processor.prepare(rows)
    assert processor.collate(items)["word_mask"].sum(1).tolist() == [3, 1, 2]
    assert [item.truncated for item in items] == [False, False, False]
    (plain,) = processor.prepare([["a", "film"]])
    assert items[0].ids[items[0].starts[2]] == plain.ids[plain.starts[1]]


def test_prefix_is_put_before_plain_text_only(build: Build, tiny: Tiny) -> None:
    plain = build(checkpoint=tiny("bert"), max_length=32).processor
    prefixed = build(checkpoint=tiny("bert"), max_length=32, prefix="query: ").processor
    assert prefixed.prepare(["a film"]) == plain.prepare(["query: a film"])
    assert prefixed.prepare([("a", "film")]) == plain.prepare([("a", "film")])
    assert prefixed.prepare([["a", "film"]]) == plain.prepare([["a", "film"]])


def test_collate_pads_to_the_longest_row(build: Build, tiny: Tiny, texts: list[str]) -> None:
    processor = build(checkpoint=tiny("roberta"), max_length=32).processor
    items = processor.prepare(texts)
    batch = processor.collate(items)
    longest = max(map(processor.size, items))
    pad = processor.tokenizer.pad_token_id
    assert batch["input_ids"].shape == (len(texts), longest)
    for row, item in enumerate(items):
        rest = longest - processor.size(item)
        assert batch["input_ids"][row].tolist() == item.ids + [pad] * rest
        assert batch["attention_mask"][row].tolist() == [1] * len(item.ids) + [0] * rest


def test_threads_can_share_a_processor(build: Build, tiny: Tiny, texts: list[str]) -> None:
    processor = build(checkpoint=tiny("bert"), max_length=32).processor
    wanted = processor.prepare(texts)
    with ThreadPoolExecutor(8) as pool:
        assert all(found == wanted for found in pool.map(processor.prepare, [texts] * 200))


def test_no_rows_no_items(build: Build, tiny: Tiny) -> None:
    assert build(checkpoint=tiny("bert"), max_length=32).processor.prepare([]) == []
