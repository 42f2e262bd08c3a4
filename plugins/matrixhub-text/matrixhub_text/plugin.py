"""What this plugin offers; imports nothing heavy."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from matrixhub import MISSING, Register, hookimpl

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
def matrixhub_config_dirs() -> Sequence[Path]:
    """Presets of well-known checkpoints."""
    return [Path(__file__).parent / "conf"]
