"""ROUGE and BLEU beside their own libraries, in English and Chinese."""

import sys

import pytest
import sacrebleu
from rouge_score.rouge_scorer import RougeScorer

from matrixhub.errors import PluginError
from matrixhub.run.overlap import metrics

TRUTH = ["The cat sat on the mat_2, quietly.", "Rome is the capital of Italy."]
SAID = ["A cat was on the mat 2.", "The capital of Italy is Rome!"]


def test_english_rouge_is_that_of_the_library() -> None:
    names = ["rouge1", "rouge2", "rougeL"]
    found = metrics(SAID, TRUTH, names)
    scorer = RougeScorer(names)
    for name in names:
        scores = [scorer.score(right, said)[name].fmeasure for right, said in zip(TRUTH, SAID, strict=True)]
        assert found[name] == pytest.approx(sum(scores) / 2)
    assert list(found) == ["f1", "exact_match", *names]


def test_chinese_rouge_counts_characters() -> None:
    found = metrics(["今天好"], ["今天天气很好。"], ["rouge1", "rougeL", "rouge2"])
    assert found["rouge1"] == pytest.approx(2 * 3 / (3 + 6))
    assert found["rougeL"] == found["rouge1"]
    assert found["rouge2"] == pytest.approx(2 * 1 / (2 + 5))


def test_bleu_takes_the_tokenizer_of_the_language() -> None:
    chinese, right = ["今天天气非常好。", "明天会下大雨。"], ["今天天气很好。", "明天会下雨。"]
    found = metrics(chinese, right, ["bleu", "chrf"])
    assert found["bleu"] == pytest.approx(sacrebleu.corpus_bleu(chinese, [right], tokenize="zh").score)
    assert found["bleu"] > 2 * sacrebleu.corpus_bleu(chinese, [right]).score
    assert metrics(SAID, TRUTH, ["bleu"])["bleu"] == pytest.approx(sacrebleu.corpus_bleu(SAID, [TRUTH]).score)


def test_a_library_that_is_not_there_is_named_with_what_to_type(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "sacrebleu", None)
    with pytest.raises(PluginError, match=r"bleu need libraries: pip install 'matrixhub\[texts\]'"):
        metrics(SAID, TRUTH, ["bleu"])
