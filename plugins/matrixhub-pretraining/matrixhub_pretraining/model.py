"""A BERT with its two pre-training heads: new, or a checkpoint's.

Shape suffixes: B examples, T tokens, M tokens to be guessed, D width, V pieces.
"""

from abc import ABC, abstractmethod
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, linear
from transformers import (
    AutoConfig,
    AutoTokenizer,
    BertConfig,
    BertForMaskedLM,
    BertForPreTraining,
)
from transformers.utils import logging

from matrixhub import CheckpointError, ConfigError, checkpoint_errors, hub_offline, resolve_checkpoint
from matrixhub_pretraining.batches import Batch
from matrixhub_pretraining.options import PretrainConfig, shape, spread
from matrixhub_pretraining.positions import position_table

FIGURES = ("loss", "guessed", "pair_loss", "pairs_right")
"""Sums that the model gives: over tokens to be guessed, then over pairs."""
HEAD = "cls."
"""Where names of the head's parameters begin in a checkpoint."""


class Model(nn.Module, ABC):
    """What the loop trains.

    Attributes:
        head: where names of the head's parameters begin.
        new_head: whether a checkpoint came without a head.
        still: while it is true, the encoder is no part of what is trained.
    """

    head: str
    new_head: bool
    still: bool

    @abstractmethod
    def forward(self, batch: Batch) -> Tensor:
        """Four sums, float32 (4,): the first two over what is guessed, the others over examples.

        The first and third are losses; the second and fourth have no gradient.
        """

    @abstractmethod
    def figures(self, *sums: float, num_guesses: float, num_examples: float) -> dict[str, float]:
        """Means by name, of these sums over everything that was scored."""

    @abstractmethod
    def save(self, folder: Path) -> None:
        """Write config and weights as an encoder's checkpoint."""


class Pretraining(Model):
    """A model of transformers, asked for the sums of both losses.

    Args:
        bert: ``BertForPreTraining``, or ``BertForMaskedLM`` where examples are no pairs.
        new_head: whether a checkpoint came without the head over the vocabulary.

    """

    head = f"bert.{HEAD}"

    def __init__(self, bert: Any, *, new_head: bool = False) -> None:
        super().__init__()
        self.bert, self.new_head, self.still = bert, new_head, False
        self.pairs = isinstance(bert, BertForPreTraining)

    def forward(self, batch: Batch) -> Tensor:
        """Sums over the batch, as named in ``FIGURES``, float32 (4,); the second and fourth have no gradient.

        Only tokens to be guessed go through the head over the vocabulary, which is most of a small model.
        """
        inputs = {name: batch[name] for name in ("input_ids", "attention_mask", "token_type_ids")}
        with torch.set_grad_enabled(torch.is_grad_enabled() and not self.still):
            found = self.bert.bert(**inputs)
        scores_MV = self._guess(found.last_hidden_state.flatten(0, 1)[batch["masked"]]).float()
        guess_M = batch["guess"]
        loss = cross_entropy(scores_MV, guess_M, reduction="sum")
        guessed = (scores_MV.argmax(dim=-1) == guess_M).sum()
        if not self.pairs:
            return torch.stack([loss, guessed.float(), loss.detach() * 0, guessed * 0.0])
        answer_B2 = self.bert.cls.seq_relationship(found.pooler_output).float()
        pair_loss = cross_entropy(answer_B2, batch["random"], reduction="sum")
        right = (answer_B2.argmax(dim=-1) == batch["random"]).sum()
        return torch.stack([loss, guessed.float(), pair_loss, right.float()])

    def figures(self, *sums: float, num_guesses: float, num_examples: float) -> dict[str, float]:
        """Mean losses, and shares guessed right."""
        loss, guessed, pair_loss, right = sums
        found = {"mlm_loss": loss / num_guesses, "mlm_accuracy": guessed / num_guesses}
        if self.pairs:
            found |= {"nsp_loss": pair_loss / num_examples, "nsp_accuracy": right / num_examples}
        return found

    def save(self, folder: Path) -> None:
        """As transformers reads it, with both heads."""
        bars = logging.is_progress_bar_enabled()
        logging.disable_progress_bar()
        self.bert.save_pretrained(folder)
        if bars:
            logging.enable_progress_bar()

    def _guess(self, hidden_MD: Tensor) -> Tensor:
        """Scores of all pieces, (M, V); the embeddings that the head shares are the encoder's."""
        head = self.bert.cls.predictions
        words_VD = head.decoder.weight.detach() if self.still else head.decoder.weight
        return linear(head.transform(hidden_MD), words_VD, head.bias)


def new_model(options: PretrainConfig, tokenizer: Any) -> Pretraining:
    """A model with random weights, from the seed."""
    layers, width, heads = shape(options.model)
    num_positions = options.objective.max_length
    config = BertConfig(
        vocab_size=len(tokenizer),
        hidden_size=width,
        num_hidden_layers=layers,
        num_attention_heads=heads,
        intermediate_size=4 * width,
        max_position_embeddings=num_positions,
        pad_token_id=tokenizer.pad_token_id,
        hidden_dropout_prob=options.model.dropout,
        attention_probs_dropout_prob=options.model.dropout,
        initializer_range=spread(options.model),
    )
    torch.manual_seed(options.trainer.seed)
    model = Pretraining((BertForPreTraining if options.pairs else BertForMaskedLM)(config))
    if options.model.positions == "sinusoidal":
        positions = model.bert.bert.embeddings.position_embeddings
        with torch.no_grad():
            positions.weight.copy_(position_table(num_positions, width))
    freeze_sinusoidal(model)
    return model


def freeze_sinusoidal(model: Pretraining) -> None:
    """Keep sinusoidal positions as they are, in a model that was trained with them too."""
    weight = model.bert.bert.embeddings.position_embeddings.weight
    if weight.shape[1] % 2 == 0 and torch.equal(weight.detach().cpu(), position_table(*weight.shape)):
        weight.requires_grad_(False)


def load_tokenizer(checkpoint: str | Path) -> Any:
    """The fast tokenizer of a checkpoint; it must have what BERT's has.

    Raises:
        CheckpointError: it is not there, or lacks a special token.
    """
    path = resolve_checkpoint(str(checkpoint))
    with checkpoint_errors(str(checkpoint)):
        options = {} if isinstance(path, Path) else {"local_files_only": hub_offline()}
        tokenizer = AutoTokenizer.from_pretrained(path, trust_remote_code=False, **options)
    needed = ("cls_token", "sep_token", "pad_token", "mask_token")
    if lacking := [name for name in needed if getattr(tokenizer, name) is None]:
        raise CheckpointError(f"The tokenizer of '{checkpoint}' has no {', '.join(lacking)}.")
    if not tokenizer.is_fast:
        raise CheckpointError(f"Checkpoint '{checkpoint}' has no tokenizer.json, nor what makes one.")
    return tokenizer


def load_model(options: PretrainConfig, tokenizer: Any) -> Pretraining:
    """A checkpoint's model.

    Raises:
        CheckpointError: it is not there, or incomplete.
        ConfigError: it is no BERT, or reads fewer tokens than ``objective.max_length``.
    """
    checkpoint = str(options.init)
    path = resolve_checkpoint(checkpoint)
    hub = {} if isinstance(path, Path) else {"local_files_only": hub_offline()}
    kind = BertForPreTraining if options.pairs else BertForMaskedLM
    before, bars = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    torch.manual_seed(options.trainer.seed)
    try:
        with checkpoint_errors(checkpoint):
            config = AutoConfig.from_pretrained(path, trust_remote_code=False, **hub)
            if config.model_type != "bert":
                raise ConfigError(
                    f"init={checkpoint} is a {config.model_type}, and only a BERT can be trained."
                )
            config.hidden_dropout_prob = config.attention_probs_dropout_prob = options.model.dropout
            bert, found = kind.from_pretrained(
                path, config=config, dtype=torch.float32, output_loading_info=True, **hub
            )
    finally:
        logging.set_verbosity(before)
        if bars:
            logging.enable_progress_bar()
    missing = [name for name in found["missing_keys"] if not name.startswith((HEAD, "bert.pooler"))]
    if missing:
        raise CheckpointError(f"Checkpoint '{checkpoint}' lacks weights of a BERT ({missing[0]} and such).")
    if options.objective.max_length > config.max_position_embeddings:
        raise ConfigError(
            f"objective.max_length={options.objective.max_length}, but '{checkpoint}' reads"
            f" {config.max_position_embeddings} tokens at most."
        )
    if len(tokenizer) > config.vocab_size:
        raise CheckpointError(f"The tokenizer of '{checkpoint}' has more tokens than its model.")
    transform = f"{HEAD}predictions.transform"
    model = Pretraining(bert, new_head=any(name.startswith(transform) for name in found["missing_keys"]))
    freeze_sinusoidal(model)
    return model


def know_frequencies(model: Pretraining, counts_V: NDArray[np.int64]) -> None:
    """Begin with the frequency of each piece as its chance, through the bias of the head.

    Else the first thousands of steps go into learning it.
    """
    smoothed_V = np.log((counts_V + 1.0) / (counts_V.sum() + len(counts_V)))
    bias = model.bert.cls.predictions.bias
    with torch.no_grad():
        bias.zero_()
        bias[: len(smoothed_V)] = torch.from_numpy(smoothed_V).to(bias)
        bias[len(smoothed_V) :] = float(smoothed_V.min())
