"""Any BERT-like encoder of transformers as a MatrixHub encoder.

Shape suffixes: B rows, T tokens, W words, D feature width.
"""

import inspect
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from transformers import CONFIG_MAPPING

from matrixhub import MISSING, Batch, ConfigError, Features
from matrixhub_text.baseline import tfidf
from matrixhub_text.layers import num_layers, split
from matrixhub_text.plugin import TransformerConfig
from matrixhub_text.processor import TextProcessor
from matrixhub_text.weights import load

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
        layers: average the outputs of so many last layers.
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
        layers: int = 1,
        normalize: bool = False,
        budget: int = 2048,
    ) -> None:
        super().__init__()
        self.model, self.processor = model, processor
        self.pooling, self.layers, self.normalize, self.budget = pooling, layers, normalize, budget
        self.dim: int = model.config.hidden_size
        self.num_layers = num_layers(model)
        self._inputs = ["input_ids", "attention_mask"]
        takes_types = "token_type_ids" in inspect.signature(model.forward).parameters
        # RoBERTa takes types too, but knows one only.
        if takes_types and getattr(model.config, "type_vocab_size", 0) > 1:
            self._inputs.append("token_type_ids")

    def forward(self, batch: Batch) -> Features:
        """Features, float32; tokens are words (first sub-words) where the rows are lists of words."""
        found = self.read({name: batch[name] for name in self._inputs})
        if found.tokens_BTD is None or "word_starts" not in batch:
            return found
        starts_BWD = batch["word_starts"][..., None].expand(-1, -1, self.dim)
        words_BWD = found.tokens_BTD.gather(1, starts_BWD)
        return Features(found.pooled_BD, words_BWD, batch["word_mask"])

    def read(self, inputs: Batch) -> Features:
        """Features of what the model takes, token ids or ``inputs_embeds``; tokens are sub-words."""
        hidden_BTD, mask_BT = self._hidden(inputs), inputs["attention_mask"].bool()
        pooled_BD = _pool(hidden_BTD, mask_BT, self.pooling)
        if self.normalize:
            pooled_BD = nn.functional.normalize(pooled_BD, dim=-1)
        return Features(pooled_BD, hidden_BTD, mask_BT)

    def _hidden(self, inputs: Batch) -> Tensor:
        if self.layers == 1:
            last_BTD: Tensor = self.model(**inputs).last_hidden_state
            return last_BTD.float()
        states = self.model(**inputs, output_hidden_states=True).hidden_states[-self.layers :]
        return torch.stack([state_BTD.float() for state_BTD in states]).mean(dim=0)

    def split(self, num_trainable: int) -> "tuple[TextEncoder, LastLayers]":
        """Below and from the last ``num_trainable`` layers; the first part gives all sub-words as tokens.

        Raises:
            ConfigError: models of this kind cannot be cut, nor those that average layers.
        """
        if self.layers > 1:
            # transformers notes outputs of layers by hooks on them, which both parts would share.
            raise ConfigError(
                f"layers={self.layers}: an encoder that averages layers cannot be cut; set it to 1."
            )
        first, last = split(self.model, num_trainable)
        rest = TextEncoder(last, self.processor, pooling=self.pooling, normalize=self.normalize)
        prefix = TextEncoder(first, self.processor, budget=self.budget)
        return prefix.train(self.training), LastLayers(rest).train(self.training)

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


class LastLayers(nn.Module):
    """The last layers of a text encoder, called with the hidden states that the first ones gave.

    Args:
        encoder: of these layers.
    """

    def __init__(self, encoder: TextEncoder) -> None:
        super().__init__()
        self.encoder = encoder

    def forward(self, hidden: Features) -> Features:
        """Features of the whole encoder."""
        if hidden.tokens_BTD is None or hidden.mask_BT is None:
            raise ConfigError("The last layers of an encoder take the hidden states of tokens.")
        states_BTD = hidden.tokens_BTD.to(self.encoder.model.dtype)
        return self.encoder.read({"inputs_embeds": states_BTD, "attention_mask": hidden.mask_BT.long()})


def build(**options: Any) -> TextEncoder:
    """Build ``text.transformer``; ``options`` are the fields of ``TransformerConfig``.

    Raises:
        ConfigError: an option that cannot be right.
        CheckpointError: the checkpoint is not there, not reachable, or not an encoder.
    """
    given = TransformerConfig(**options)
    _check(given)
    model, tokenizer = load(given)
    longest = min(tokenizer.model_max_length, _num_positions(model))
    if given.max_length > longest:
        raise ConfigError(
            f"max_length={given.max_length}, but '{given.checkpoint}' reads {longest} tokens at most:"
            f" write max_length={longest}, in a product encoder.text.max_length={longest}."
        )
    if given.layers > model.config.num_hidden_layers:
        raise ConfigError(
            f"layers={given.layers}, but '{given.checkpoint}' has {model.config.num_hidden_layers}."
        )
    return TextEncoder(
        model,
        TextProcessor(tokenizer, max_length=given.max_length, prefix=given.prefix),
        pooling=given.pooling,
        layers=given.layers,
        normalize=given.normalize,
        budget=given.budget,
    ).eval()


def _check(given: TransformerConfig) -> None:
    if given.checkpoint == MISSING:
        raise ConfigError("text.transformer needs a checkpoint: a hub id, a folder, or package:NAME/PATH.")
    for name, allowed in (("pooling", POOLINGS), ("dtype", DTYPES), ("attention", ATTENTIONS)):
        if (value := getattr(given, name)) not in allowed:
            choices = ", ".join(allowed)
            raise ConfigError(f"{name}={value} is unknown to text.transformer. Allowed: {choices}.")
    for name, least in (("max_length", 3), ("layers", 1), ("budget", 1)):
        if (value := getattr(given, name)) < least:
            raise ConfigError(f"{name}={value}: it must be {least} or more.")
    if given.model_type is not None and given.model_type not in CONFIG_MAPPING:
        raise ConfigError(
            f"model_type={given.model_type} is unknown to transformers; bert and roberta are two it knows."
        )


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
