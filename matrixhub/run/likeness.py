"""Figures of texts that libraries of their own compute: ROUGE by rouge-score, BLEU and chrF by sacreBLEU."""

import re
from collections.abc import Sequence
from typing import Any

from matrixhub.errors import PluginError
from matrixhub.run.overlap import HAN

_TOKEN = re.compile(f"[{HAN}]|[^\\W_{HAN}]+")


class Words:
    """What ROUGE counts: words as its own script has them, of Chinese characters."""

    def tokenize(self, text: str) -> list[str]:
        """In their order, without case."""
        return _TOKEN.findall(text.lower())


def likeness(said: Sequence[str], truth: Sequence[str], names: Sequence[str]) -> dict[str, float]:
    """Some of ``TEXT_METRICS`` over all rows: ROUGE is a mean of F1 from 0 to 1, BLEU and chrF go to 100.

    Raises:
        PluginError: a library is not installed; says what to type.
    """
    try:
        rouge = [name for name in names if name.startswith("rouge")]
        found = _rouge(said, truth, rouge) if rouge else {}
        corpus = {name: _corpus(name)(list(said), truth) for name in names if name not in rouge}
    except ImportError as error:
        raise PluginError(f"{', '.join(names)} need libraries: pip install 'matrixhub[texts]'.") from error
    return {name: {**found, **corpus}[name] for name in names}


def _rouge(said: Sequence[str], truth: Sequence[str], names: Sequence[str]) -> dict[str, float]:
    from rouge_score.rouge_scorer import RougeScorer

    scorer = RougeScorer(list(names), tokenizer=Words())
    scores = [scorer.score(right, text) for text, right in zip(said, truth, strict=True)]
    return {name: sum(one[name].fmeasure for one in scores) / len(scores) for name in names}


def _corpus(name: str) -> Any:
    import sacrebleu

    def bleu(said: list[str], truth: Sequence[str]) -> float:
        return float(sacrebleu.corpus_bleu(said, [list(truth)], tokenize=_language(truth)).score)

    def chrf(said: list[str], truth: Sequence[str]) -> float:
        return float(sacrebleu.corpus_chrf(said, [list(truth)]).score)

    return {"bleu": bleu, "chrf": chrf}[name]


def _language(truth: Sequence[str]) -> str:
    """sacreBLEU's tokenizer: of Chinese by characters where half of the letters are Chinese."""
    letters = [character for text in truth for character in text if character.isalpha()]
    chinese = sum(bool(re.match(f"[{HAN}]", character)) for character in letters)
    return "zh" if 2 * chinese > len(letters) else "13a"
