"""What this plugin offers; imports nothing heavy."""

import importlib.util
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from matrixhub import MISSING, Register, hookimpl

matrixhub_api = 1


@dataclass
class ModelConfig:
    """What generators of both kinds are built from, and how they write."""

    checkpoint: str = MISSING
    """Hub id, folder, or package:<import name>/<path inside>."""
    revision: str | None = None
    """Branch, tag or commit of a hub id."""
    gguf_file: str | None = None
    """Name of a GGUF file in the checkpoint, which then holds weights and tokenizer."""
    sha256: str | None = None
    """Expected digest of the weight file of a folder or package."""
    pretrained: bool = True
    """Load the weights; False builds the architecture with seeded random ones."""
    dtype: str = "float32"
    """Precision of the weights: float32, bfloat16 or float16."""
    attention: str = "sdpa"
    """Attention implementation: sdpa, eager or flash_attention_2."""
    context: int | None = None
    """Most tokens of a prompt and its answer together; None is as many as the model was made for."""
    overflow: str = "truncate"
    """A prompt that is too long is cut (truncate), or answered piece by piece (chunk); both are marked."""
    merge: str = "join"
    """Answers to pieces are put one after the other (join), or these are answered once more (again)."""
    num_beams: int = 1
    """Beams of a beam search, for temperature 0; 1 is greedy."""
    length_penalty: float | None = None
    """Beams: the sum of log p is divided by the length to this power, so above 0 longer texts win; None is
    what the checkpoint says, mostly 1."""
    early_stopping: bool | None = None
    """Beams: end as soon as there are num_beams whole texts; None is what the checkpoint says."""
    num_rows: int = 16
    """Answers written at the same time: what memory holds; each beam is one. One that ends makes place for
    the next prompt."""
    budget: int = 8192
    """Padded tokens of prompts that are read at a time, for each beam."""


@dataclass
class CausalConfig(ModelConfig):
    """Any causal language model that transformers' ``AutoModelForCausalLM`` can build."""

    chat: bool | None = None
    """Put the prompt into the checkpoint's chat template; None does so where it has one."""
    system: str = ""
    """What the model is told before the prompt, in a chat."""


@dataclass
class Seq2SeqConfig(ModelConfig):
    """Any model that transformers' ``AutoModelForSeq2SeqLM`` can build."""


@hookimpl
def matrixhub_components(register: Register) -> None:
    """Two generators, many checkpoints."""
    register(
        "generator",
        "causal",
        "matrixhub_generation.causal:build",
        config=CausalConfig,
        consumes=("text", "prefix"),
        produces="loss",
    )
    register(
        "generator",
        "seq2seq",
        "matrixhub_generation.seq2seq:build",
        config=Seq2SeqConfig,
        consumes="text",
        produces="loss",
    )


@hookimpl
def matrixhub_check(cell: Mapping[str, Any]) -> Sequence[str]:
    """What has to be installed first."""
    generator = cell.get("generator") or {}
    if generator.get("gguf_file") and importlib.util.find_spec("gguf") is None:
        return ["A GGUF file is read by the package gguf: pip install gguf."]
    return []


@hookimpl
def matrixhub_config_dirs() -> Sequence[Path]:
    """Presets of well-known checkpoints, and products that need a generator."""
    return [Path(__file__).parent / "conf"]
