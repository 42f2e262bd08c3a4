"""What this plugin offers; imports nothing heavy."""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from matrixhub import MISSING, CheckpointError, Register, hookimpl, resolve_checkpoint

matrixhub_api = 1


@dataclass
class TransformerConfig:
    """Any encoder of the BERT family that transformers' ``AutoModel`` can build."""

    checkpoint: str = MISSING
    """Hub id, folder, or package:<import name>/<path inside>."""
    revision: str | None = None
    """Branch, tag or commit of a hub id."""
    sha256: str | None = None
    """Expected digest of the weight file of a folder or package."""
    pretrained: bool = True
    """Load the weights; False builds the architecture with seeded random ones."""
    model_type: str | None = None
    """Architecture (bert, roberta, ...), only for a checkpoint whose config.json does not name it."""
    pooling: str = "mean"
    """How tokens become one vector: cls, mean or max."""
    layers: int = 1
    """Average the outputs of so many last layers, for words and before pooling."""
    normalize: bool = False
    """Scale pooled vectors to length 1."""
    max_length: int = 128
    """Longest input in tokens; longer text is cut and marked as truncated."""
    prefix: str = ""
    """Put before every text, as E5 wants it ("query: "); not before words or pairs."""
    dtype: str = "float32"
    """Precision of the weights: float32, bfloat16 or float16. Features are always float32."""
    attention: str = "sdpa"
    """Attention implementation: sdpa, eager or flash_attention_2."""
    budget: int = 2048
    """Padded tokens in a batch when only encoding."""


@hookimpl
def matrixhub_components(register: Register) -> None:
    """One encoder, many checkpoints."""
    register(
        "encoder",
        "transformer",
        "matrixhub_text.encoder:build",
        config=TransformerConfig,
        consumes="text",
        produces=("pooled", "tokens", "layers"),
    )


@hookimpl
def matrixhub_check(cell: Mapping[str, Any]) -> Iterator[str]:
    """Texts longer than a checkpoint on this machine reads."""
    for modality, options in cell["encoder"].items():
        if options["name"] == "text.transformer" and options["checkpoint"] != MISSING:
            longest = _longest(options["checkpoint"])
            if longest is not None and options["max_length"] > longest:
                key = f"encoder.{modality}.max_length"
                yield (
                    f"{key}={options['max_length']}, but '{options['checkpoint']}' reads {longest} tokens at"
                    f" most: add {key}={longest}."
                )


def _longest(checkpoint: str) -> int | None:
    """Most tokens by the files beside its weights: an upper bound, for RoBERTa keeps some to itself."""
    try:
        path = resolve_checkpoint(checkpoint)
    except CheckpointError:  # told by who loads it
        return None
    if isinstance(path, str):  # a hub id: nothing is downloaded to plan
        return None
    folder, found = path if path.is_dir() else path.parent, []
    for name, key in (
        ("config.json", "max_position_embeddings"),
        ("tokenizer_config.json", "model_max_length"),
    ):
        try:
            value = json.loads((folder / name).read_text("utf-8")).get(key)
        except (OSError, ValueError, AttributeError):  # whoever loads it can say what is wrong
            continue
        found += [int(value)] if isinstance(value, int | float) and value > 0 else []
    return min(found, default=None)


@hookimpl
def matrixhub_config_dirs() -> Sequence[Path]:
    """Presets of well-known checkpoints."""
    return [Path(__file__).parent / "conf"]
