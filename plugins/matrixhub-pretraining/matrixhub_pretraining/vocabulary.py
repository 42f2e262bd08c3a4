"""A WordPiece tokenizer trained on texts, as BERT has it; the same texts always give the same one."""

from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any

from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, trainers
from transformers import BertTokenizer

from matrixhub_pretraining.options import TokenizerConfig

SPECIAL = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")


def train_tokenizer(texts: Callable[[], Iterator[str]], options: TokenizerConfig, *, max_length: int) -> Any:
    """A tokenizer of transformers with pieces learned from ``texts``, which are walked through twice."""
    tokenizer = Tokenizer(models.WordPiece(unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=options.lowercase)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    alphabet = _alphabet(tokenizer.normalizer, texts(), options)
    # The trainer numbers the letters inside words as its hash table has them, and pieces that are equally
    # frequent follow these numbers: so all get their numbers beforehand.
    inside = [f"##{letter}" for letter in alphabet if _joins(tokenizer.pre_tokenizer, letter)]
    trainer = trainers.WordPieceTrainer(
        vocab_size=options.vocab_size,
        min_frequency=options.min_frequency,
        initial_alphabet=alphabet,
        limit_alphabet=len(alphabet),
        special_tokens=[*SPECIAL, *inside],
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts(), trainer)
    return BertTokenizer(
        vocab=tokenizer.get_vocab(), do_lower_case=options.lowercase, model_max_length=max_length
    )


def _alphabet(normalizer: Any, texts: Iterator[str], options: TokenizerConfig) -> list[str]:
    """The most frequent letters, at most half of the pieces: Chinese has thousands of them."""
    counts: Counter[str] = Counter()
    for text in texts:
        counts.update(normalizer.normalize_str(text))
    known = sorted((c for c in counts if not c.isspace()), key=lambda c: (-counts[c], c))
    return sorted(c for c in known[: options.vocab_size // 2] if counts[c] >= options.min_frequency)


def _joins(pre_tokenizer: Any, letter: str) -> bool:
    """Whether it can stand inside a word; punctuation is a word of its own, and so is a Chinese character."""
    normalized = normalizers.BertNormalizer(lowercase=False, strip_accents=False).normalize_str(f"a{letter}")
    return len(pre_tokenizer.pre_tokenize_str(normalized)) == 1
