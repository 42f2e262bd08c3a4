"""Any BERT-like encoder of transformers as a MatrixHub encoder.

Shape suffixes: B rows, T tokens, W words, D feature width.
"""

import inspect
import json
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from transformers import CONFIG_MAPPING, MODEL_MAPPING, AutoConfig, AutoModel, AutoTokenizer
from transformers.utils import logging

from matrixhub import (
    MISSING,
    Batch,
    CheckpointError,
    ConfigError,
    Features,
    checkpoint_errors,
    hub_offline,
    resolve_checkpoint,
)
from matrixhub_text.baseline import tfidf
from matrixhub_text.plugin import TransformerConfig
from matrixhub_text.processor import TextProcessor

POOLINGS = ("cls", "mean", "max")
DTYPES = ("float32", "bfloat16", "float16")
ATTENTIONS = ("sdpa", "eager", "flash_attention_2")

_NOT_DATA = ("auto_map", "chat_template", "name_or_path", "is_local", "local_files_only")
"""Keys of a tokenizer's or model's config that name code, or a place on this machine."""


class TextEncoder(nn.Module):
    """Token ids to features.

    Args:
        model: an encoder of transformers.
        processor: makes its batches.
        pooling: ``cls``, ``mean`` or ``max``, over real tokens.
        normalize: scale pooled vectors to length 1.
        budget: padded tokens in a batch when only encoding.
    """

    modality = "text"
    baseline_name = "TF-IDF + linear"

    def __init__(
        self,
        model: Any,
        processor: TextProcessor,
        *,
        pooling: str = "mean",
        normalize: bool = False,
        budget: int = 2048,
    ) -> None:
        super().__init__()
        self.model, self.processor = model, processor
        self.pooling, self.normalize, self.budget = pooling, normalize, budget
        self.dim: int = model.config.hidden_size
        self._inputs = ["input_ids", "attention_mask"]
        # RoBERTa takes type ids too, but knows one type only.
        if getattr(model.config, "type_vocab_size", 0) > 1 and "token_type_ids" in _parameters(model.forward):
            self._inputs.append("token_type_ids")

    def forward(self, batch: Batch) -> Features:
        """Features, float32; tokens are words (first sub-words) where the rows are lists of words."""
        output = self.model(**{name: batch[name] for name in self._inputs})
        hidden_BTD: Tensor = output.last_hidden_state.float()
        mask_BT = batch["attention_mask"].bool()
        pooled_BD = _pool(hidden_BTD, mask_BT, self.pooling)
        if self.normalize:
            pooled_BD = nn.functional.normalize(pooled_BD, dim=-1)
        if "word_starts" not in batch:
            return Features(pooled_BD, hidden_BTD, mask_BT)
        starts_BWD = batch["word_starts"][..., None].expand(-1, -1, self.dim)
        return Features(pooled_BD, hidden_BTD.gather(1, starts_BWD), batch["word_mask"])

    def save_assets(self, folder: Path) -> None:
        """Write the architecture's config.json and the tokenizer's files."""
        self.model.config.to_json_file(folder / "config.json")
        self.processor.tokenizer.save_pretrained(folder, save_jinja_files=False)
        for name in ("config.json", "tokenizer_config.json"):
            path = folder / name
            data = {k: v for k, v in json.loads(path.read_text("utf-8")).items() if k not in _NOT_DATA}
            path.write_text(json.dumps(data, indent=2, sort_keys=True, ensure_ascii=False) + "\n", "utf-8")

    def baseline_features(self, train: Sequence[Any], test: Sequence[Any]) -> tuple[Any, Any]:
        """TF-IDF of words and word pairs (characters for Chinese), two sparse matrices."""
        return tfidf(train, test)


def build(**options: Any) -> TextEncoder:
    """Build ``text.transformer``; ``options`` are the fields of ``TransformerConfig``.

    Raises:
        ConfigError: an option that cannot be right.
        CheckpointError: the checkpoint is not there, not reachable, or not an encoder.
    """
    given = TransformerConfig(**options)
    _check(given)
    path = resolve_checkpoint(given.checkpoint, sha256=given.sha256)
    with checkpoint_errors(given.checkpoint), _quiet(local=isinstance(path, Path)), _seeded():
        hub = (
            {} if isinstance(path, Path) else {"revision": given.revision, "local_files_only": hub_offline()}
        )
        config = _config(given, path, hub)
        tokenizer = AutoTokenizer.from_pretrained(path, config=config, trust_remote_code=False, **hub)
        model = _model(given, path, config, hub)
    if not tokenizer.is_fast:
        raise CheckpointError(
            f"Checkpoint '{given.checkpoint}' has no tokenizer.json or vocabulary to make one from."
        )
    longest = min(tokenizer.model_max_length, _num_positions(model))
    if given.max_length > longest:
        raise ConfigError(
            f"max_length={given.max_length}, but '{given.checkpoint}' reads {longest} tokens at most."
        )
    processor = TextProcessor(tokenizer, max_length=given.max_length, prefix=given.prefix)
    return TextEncoder(
        model, processor, pooling=given.pooling, normalize=given.normalize, budget=given.budget
    ).eval()


def _check(given: TransformerConfig) -> None:
    if given.checkpoint == MISSING:
        raise ConfigError("text.transformer needs a checkpoint: a hub id, a folder, or package:NAME/PATH.")
    for name, allowed in (("pooling", POOLINGS), ("dtype", DTYPES), ("attention", ATTENTIONS)):
        if (value := getattr(given, name)) not in allowed:
            raise ConfigError(
                f"{name}={value} is unknown to text.transformer. Allowed: {', '.join(allowed)}."
            )
    for name, least in (("max_length", 3), ("budget", 1)):
        if (value := getattr(given, name)) < least:
            raise ConfigError(f"{name}={value}: it must be {least} or more.")
    if given.model_type is not None and given.model_type not in CONFIG_MAPPING:
        raise ConfigError(
            f"model_type={given.model_type} is unknown to transformers; bert and roberta are two it knows."
        )


def _config(given: TransformerConfig, path: Path | str, hub: dict[str, Any]) -> Any:
    if given.model_type is not None:
        config = CONFIG_MAPPING[given.model_type].from_pretrained(path, **hub)
    else:
        config = AutoConfig.from_pretrained(path, trust_remote_code=False, **hub)
    if getattr(config, "is_encoder_decoder", False):
        raise ConfigError(
            f"'{given.checkpoint}' ({config.model_type}) is an encoder-decoder; text.transformer"
            f" takes encoders such as BERT."
        )
    return config


def _model(given: TransformerConfig, path: Path | str, config: Any, hub: dict[str, Any]) -> Any:
    options: dict[str, Any] = {"dtype": getattr(torch, given.dtype), "attn_implementation": given.attention}
    # An unused pooler would be a parameter without gradient.
    if "add_pooling_layer" in _parameters(MODEL_MAPPING[type(config)].__init__):
        options["add_pooling_layer"] = False
    if not given.pretrained:
        return AutoModel.from_config(config, trust_remote_code=False, **options)
    model, found = AutoModel.from_pretrained(
        path, config=config, trust_remote_code=False, output_loading_info=True, **options, **hub
    )
    if missing := sorted(found["missing_keys"]):
        raise CheckpointError(
            f"Checkpoint '{given.checkpoint}' lacks {len(missing)} weights of a {config.model_type} encoder"
            f" ({', '.join(missing[:3])}{', ...' if len(missing) > 3 else ''}): damaged, or of another kind."
        )
    return model


def _num_positions(model: Any) -> int:
    """Longest input in tokens, special ones included."""
    table = getattr(getattr(model, "embeddings", None), "position_embeddings", None)
    if isinstance(table, nn.Embedding):
        # RoBERTa counts positions from the one after its padding.
        return table.num_embeddings - (0 if table.padding_idx is None else table.padding_idx + 1)
    return int(getattr(model.config, "max_position_embeddings", None) or sys.maxsize)


def _pool(hidden_BTD: Tensor, mask_BT: Tensor, pooling: str) -> Tensor:
    if pooling == "cls":
        return hidden_BTD[:, 0]
    if pooling == "max":
        return hidden_BTD.masked_fill(~mask_BT[..., None], float("-inf")).amax(dim=1)
    weights_BT1 = mask_BT[..., None].to(hidden_BTD.dtype)
    return (hidden_BTD * weights_BT1).sum(dim=1) / weights_BT1.sum(dim=1).clamp(min=1)


def _parameters(function: Any) -> set[str]:
    return set(inspect.signature(function).parameters)


@contextmanager
def _seeded() -> Iterator[None]:
    """Random weights that are the same every time, leaving the caller's random numbers alone."""
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(0)
        yield


@contextmanager
def _quiet(*, local: bool) -> Iterator[None]:
    """No load reports; progress bars only where something is downloaded and someone is looking."""
    verbosity, bars = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity_error()
    if bars and (local or not sys.stderr.isatty()):
        logging.disable_progress_bar()
    try:
        yield
    finally:
        logging.set_verbosity(verbosity)
        if bars:
            logging.enable_progress_bar()
