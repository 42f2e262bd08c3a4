"""Tiny seeded generators of both kinds, written to a folder as their publishers would save them."""

import functools
import tempfile
from pathlib import Path
from typing import Any

import torch
import transformers
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers

from matrixhub.plugins import hub

TEXTS = [
    "The capital of France is Paris, and that of Italy is Rome.",
    "Summarize the text below in one sentence, and say nothing else.",
    "A quiet film whose ending stays with you; don't miss it (really).",
    "这部电影很好看，我很喜欢。今天天气很好。",
]
CHAT = (
    "{% for m in messages %}<|{{ m.role }}|>{{ m.content }}</s>{% endfor %}"
    "{% if add_generation_prompt %}<|assistant|>{% endif %}"
)
SPECIAL = ("<pad>", "<s>", "</s>", "<unk>", "<|user|>", "<|assistant|>", "<|system|>")
CAUSAL = ("llama", "gpt2", "qwen2")
SEQ2SEQ = ("t5", "bart", "m2m_100", "marian")


@functools.cache
def tiny(family: str, *, chat: bool = False) -> str:
    """Folder of a checkpoint, made once; it is gone with the process."""
    kept = tempfile.TemporaryDirectory(prefix="matrixhub-toy-")
    _KEPT.append(kept)
    return save(family, Path(kept.name), chat=chat)


_KEPT: list[tempfile.TemporaryDirectory[str]] = []


def build(family: str, *, checkpoint: str | None = None, template: bool = False, **options: Any) -> Any:
    """A generator of a family, by its registered factory."""
    name = "generation.seq2seq" if family in SEQ2SEQ else "generation.causal"
    factory = hub().component("generator", name).factory()
    return factory(checkpoint=checkpoint or tiny(family, chat=template), **options)


def save(family: str, folder: Path, *, chat: bool = False) -> str:
    """Write a checkpoint; its weights are large enough that answers differ from prompt to prompt."""
    tokenizer = transformers.PreTrainedTokenizerFast(
        tokenizer_object=_tokenizer(ends=family in SEQ2SEQ),
        pad_token="<pad>", bos_token="<s>", eos_token="</s>", unk_token="<unk>",
    )  # fmt: skip
    if chat:
        tokenizer.chat_template = CHAT
    tokenizer.save_pretrained(folder)
    torch.manual_seed(3)
    kind = transformers.AutoModelForSeq2SeqLM if family in SEQ2SEQ else transformers.AutoModelForCausalLM
    model = kind.from_config(_config(family, len(tokenizer)))
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if parameter.dim() > 1 and "relative" not in name:
                parameter.normal_(std=0.15 if family == "t5" else 0.3)
    model.save_pretrained(folder)
    return str(folder)


def _config(family: str, size: int) -> Any:
    ids = {"pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2}
    common = {"vocab_size": size, "hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, **ids}
    match family:
        case "gpt2":
            sizes = {"n_positions": 96, "n_embd": 32, "n_layer": 2, "n_head": 4}
            return transformers.GPT2Config(vocab_size=size, **sizes, **ids)
        case "qwen2":
            return transformers.Qwen2Config(
                **common, num_key_value_heads=2, intermediate_size=64, max_position_embeddings=96
            )
        case "llama":
            return transformers.LlamaConfig(
                **common, num_key_value_heads=2, intermediate_size=64, max_position_embeddings=96
            )
        case "gpt_neo":
            kinds = [[["global", "local"], 1]]
            return transformers.GPTNeoConfig(
                vocab_size=size, hidden_size=32, num_layers=2, num_heads=4, intermediate_size=64,
                attention_types=kinds, window_size=8, max_position_embeddings=96, **ids,
            )  # fmt: skip
        case "mpt":
            return transformers.MptConfig(
                vocab_size=size, d_model=32, n_layers=2, n_heads=4, expansion_ratio=2, max_seq_len=96, **ids
            )
        case "bloom":
            return transformers.BloomConfig(vocab_size=size, hidden_size=32, n_layer=2, n_head=4, **ids)
        case "t5":
            start = {"pad_token_id": 0, "eos_token_id": 2, "decoder_start_token_id": 0}
            return transformers.T5Config(
                vocab_size=size,
                d_model=32,
                d_kv=8,
                d_ff=64,
                num_layers=2,
                num_heads=4,
                n_positions=96,
                **start,
            )
        case "m2m_100":
            sizes = {"encoder_layers": 2, "decoder_layers": 2, "encoder_ffn_dim": 64, "decoder_ffn_dim": 64}
            heads = {"encoder_attention_heads": 4, "decoder_attention_heads": 4}
            return transformers.M2M100Config(
                vocab_size=size, d_model=32, max_position_embeddings=96, **sizes, **heads, **ids,
                decoder_start_token_id=2, scale_embedding=False,
            )  # fmt: skip
        case "marian":
            sizes = {"encoder_layers": 2, "decoder_layers": 2, "encoder_ffn_dim": 64, "decoder_ffn_dim": 64}
            heads = {"encoder_attention_heads": 4, "decoder_attention_heads": 4}
            return transformers.MarianConfig(
                vocab_size=size, d_model=32, max_position_embeddings=96, **sizes, **heads,
                pad_token_id=0, eos_token_id=2, decoder_start_token_id=0, forced_eos_token_id=None,
            )  # fmt: skip
        case _:
            sizes = {"encoder_layers": 2, "decoder_layers": 2, "encoder_ffn_dim": 64, "decoder_ffn_dim": 64}
            heads = {"encoder_attention_heads": 4, "decoder_attention_heads": 4}
            return transformers.BartConfig(
                vocab_size=size, d_model=32, max_position_embeddings=96, **sizes, **heads, **ids,
                decoder_start_token_id=2, forced_bos_token_id=1, forced_eos_token_id=None,
            )  # fmt: skip


def _tokenizer(*, ends: bool) -> Tokenizer:
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(
        vocab_size=400, special_tokens=list(SPECIAL), initial_alphabet=alphabet, show_progress=False
    )
    tokenizer.train_from_iterator(TEXTS, trainer)
    tokenizer.post_processor = processors.TemplateProcessing(
        single="$A </s>" if ends else "<s> $A", special_tokens=[("<s>", 1), ("</s>", 2)]
    )
    return tokenizer
