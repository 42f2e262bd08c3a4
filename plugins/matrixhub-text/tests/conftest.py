"""Tiny seeded models of each family, built in a temporary folder as their publishers would save them."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers

from matrixhub.plugins import hub

os.environ["HF_HUB_OFFLINE"] = "1"

TEXTS = [
    "The film is a quiet wonder, and its ending stays with you.",
    "Hello, world! unbelievable storytelling; don't miss it (really).",
    "a",
    "",
    "  Leading and   inner spaces matter less than you think  ",
    "这部电影很好看,我很喜欢。",
    "Crème brûlée costs 12.50 € in the café — tax included.",
    "x " * 60,
]
SPECIAL = {
    "bert": ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"],
    "roberta": ["<s>", "<pad>", "</s>", "<unk>", "<mask>"],
}
SIZES = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 64}
FAMILIES = ("bert", "distilbert", "roberta", "modernbert", "xlm-roberta")

Build = Callable[..., Any]
Tiny = Callable[[str], str]


@pytest.fixture(scope="session")
def build() -> Build:
    """The factory of ``text.transformer``, as the registry gives it."""
    return hub().component("encoder", "text.transformer").factory()


@pytest.fixture(params=FAMILIES)
def family(request: pytest.FixtureRequest) -> str:
    """Each kind of model and tokenizer in turn."""
    return str(request.param)


@pytest.fixture
def texts() -> list[str]:
    """Short, long, empty, Chinese."""
    return TEXTS


@pytest.fixture(scope="session")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Tiny:
    """Folder of a tiny checkpoint of a family, made once."""
    made: dict[str, str] = {}

    def folder_of(family: str) -> str:
        if family not in made:
            made[family] = str(_save(family, tmp_path_factory.mktemp(family)))
        return made[family]

    return folder_of


def _save(family: str, folder: Path) -> Path:
    style = "roberta" if "roberta" in family else "bert"
    tokenizer = _tokenizer(family, SPECIAL[style])
    pad, unk, cls, sep, mask = (
        SPECIAL["bert"] if style == "bert" else ["<pad>", "<unk>", "<s>", "</s>", "<mask>"]
    )
    fast = transformers.PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        pad_token=pad,
        unk_token=unk,
        cls_token=cls,
        sep_token=sep,
        mask_token=mask,
    )
    fast.save_pretrained(folder)
    torch.manual_seed(0)
    transformers.AutoModel.from_config(_config(family, fast)).save_pretrained(folder)
    return folder


def _config(family: str, tokenizer: Any) -> Any:
    sizes: dict[str, Any] = {"vocab_size": len(tokenizer), "pad_token_id": tokenizer.pad_token_id, **SIZES}
    match family:
        case "distilbert":
            return transformers.DistilBertConfig(
                vocab_size=len(tokenizer),
                dim=32,
                n_layers=2,
                n_heads=4,
                hidden_dim=64,
                max_position_embeddings=64,
            )
        case "modernbert":
            ids = {"cls_token_id": tokenizer.cls_token_id, "sep_token_id": tokenizer.sep_token_id}
            return transformers.ModernBertConfig(
                **sizes, **ids, max_position_embeddings=64, local_attention=16
            )
        case "roberta" | "xlm-roberta":
            known = {"type_vocab_size": 1, "max_position_embeddings": 66}
            kind = transformers.RobertaConfig if family == "roberta" else transformers.XLMRobertaConfig
            return kind(**sizes, **known)
        case _:
            return transformers.BertConfig(**sizes, max_position_embeddings=64)


def _tokenizer(family: str, special: list[str]) -> Tokenizer:
    options: dict[str, Any] = {"special_tokens": special, "show_progress": False, "vocab_size": 400}
    if family in ("bert", "distilbert"):
        tokenizer = Tokenizer(models.WordPiece(unk_token="[UNK]"))
        tokenizer.normalizer = normalizers.BertNormalizer(lowercase=True)
        tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
        trainer: Any = trainers.WordPieceTrainer(**options)
    elif family == "xlm-roberta":
        tokenizer = Tokenizer(models.Unigram())
        tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
        trainer = trainers.UnigramTrainer(**options, unk_token="<unk>")
    else:
        tokenizer = Tokenizer(models.BPE())
        tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
        tokenizer.decoder = decoders.ByteLevel()
        options["initial_alphabet"] = pre_tokenizers.ByteLevel.alphabet()
        trainer = trainers.BpeTrainer(**options)
    tokenizer.train_from_iterator(TEXTS, trainer)
    cls, sep = ("<s>", "</s>") if special[0] == "<s>" else ("[CLS]", "[SEP]")
    second = f"{sep} $B {sep}" if cls == "<s>" else "$B:1 [SEP]:1"
    tokenizer.post_processor = processors.TemplateProcessing(
        single=f"{cls} $A {sep}",
        pair=f"{cls} $A {sep} {second}",
        special_tokens=[(token, tokenizer.token_to_id(token)) for token in (cls, sep)],
    )
    return tokenizer
