"""Overlap of texts, against the answers of SQuAD's own script, worked out by hand."""

import pytest

from matrixhub.run.overlap import exact_match, f1, metrics, tokens


def test_words_without_case_punctuation_and_articles() -> None:
    assert tokens("The Cat, an  old one: $5!") == ["cat", "old", "one", "5"]


def test_chinese_counts_by_character_beside_words() -> None:
    assert tokens("今天天气很好。GPT ok，是") == [*"今天天气很好", "gpt", "ok", "是"]
    assert f1("天气很好", "今天天气很好") == pytest.approx(0.8)
    assert exact_match("今天天气很好！", "今天天气很好") == 1


@pytest.mark.parametrize(
    ("said", "truth", "score"),
    [
        ("the cat sat", "a cat sat down", 0.8),  # 2 of 2 said, 2 of 3 wanted
        ("red red blue", "red", 0.5),
        ("green", "blue", 0.0),
        ("The", "an", 1.0),  # nothing is left of either
        ("", "blue", 0.0),
    ],
)
def test_f1(said: str, truth: str, score: float) -> None:
    assert f1(said, truth) == pytest.approx(score)
    assert f1(truth, said) == pytest.approx(score)


def test_means_over_rows() -> None:
    assert metrics(["red", "blue sky"], ["Red.", "blue"]) == pytest.approx({"f1": 5 / 6, "exact_match": 0.5})
