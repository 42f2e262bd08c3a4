"""Sequence-to-sequence models: a prompt is read by an encoder, an answer written by a decoder.

Shape suffixes: B rows, T tokens of a prompt, U of an answer, D width, V tokens of the vocabulary.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from transformers import AutoModelForSeq2SeqLM
from transformers.cache_utils import DynamicCache, EncoderDecoderCache
from transformers.modeling_outputs import BaseModelOutput

from matrixhub_generation.cache import empty, keyword, thin
from matrixhub_generation.causal import answer_loss
from matrixhub_generation.decode import Row
from matrixhub_generation.plugin import Seq2SeqConfig
from matrixhub_generation.prompts import Reader, whole
from matrixhub_generation.weights import check, load
from matrixhub_generation.writer import Writer


@dataclass
class State:
    """What was read (B, T, D), which of it is padding, and keys and values of what was written."""

    read_BTD: Tensor
    mask_BT: Tensor
    cache: Any


class Seq2SeqSteps:
    """Encoder once, then decoder step by step; see ``Steps``. Rows of a batch count from one beginning."""

    def __init__(self, model: Any, start: int, pad: int) -> None:
        self.model, self.start, self.pad = model, start, pad
        self._cache = keyword(model)

    def share(self, rows: Sequence[Row]) -> None:
        """Nothing: an encoder sees what comes behind, too."""

    def begin(self, rows: Sequence[Row]) -> tuple[State, Tensor]:
        """Prompts read, and the first step."""
        ids_BT, mask_BT = padded([row.ids for row in rows], self.pad, self.model.device)
        read_BTD = self.model.get_encoder()(input_ids=ids_BT, attention_mask=mask_BT).last_hidden_state
        state = State(read_BTD, mask_BT, EncoderDecoderCache(empty(), DynamicCache()))
        return state, self.step(state, [self.start] * len(rows))

    def step(self, state: State, tokens: Sequence[int]) -> Tensor:
        """Logits behind one more token each."""
        output = self.model(
            encoder_outputs=BaseModelOutput(last_hidden_state=state.read_BTD),
            attention_mask=state.mask_BT,
            decoder_input_ids=torch.tensor(tokens, device=self.model.device)[:, None],
            use_cache=True,
            **{self._cache: state.cache},
        )
        logits_BV: Tensor = output.logits[:, -1]
        return logits_BV

    def keep(self, state: State, rows: Sequence[int]) -> State:
        """Some rows."""
        kept = torch.tensor(rows, device=self.model.device)
        thin(state.cache.self_attention_cache, kept)
        thin(state.cache.cross_attention_cache, kept)
        return State(state.read_BTD[kept], state.mask_BT[kept], state.cache)

    def written(self, row: Row) -> list[int]:
        """Answer, with the token that begins all of them."""
        return [self.start, *row.new]


class Seq2SeqWriter(Writer):
    """A sequence-to-sequence model as a generator."""

    def __init__(self, model: Any, tokenizer: Any, given: Seq2SeqConfig) -> None:
        super().__init__(model, tokenizer, given, Reader(tokenizer))
        self.pad = int(tokenizer.pad_token_id or 0)

    @property
    def start(self) -> int:
        """The token that begins every answer."""
        known = (
            self.model.generation_config.decoder_start_token_id,
            getattr(self.model.config, "decoder_start_token_id", None),
            self.tokenizer.bos_token_id,
        )
        return next((int(one) for one in known if one is not None), self.pad)

    @property
    def steps(self) -> Seq2SeqSteps:
        return Seq2SeqSteps(self.model, self.start, self.pad)

    def room(self, max_new_tokens: int) -> int:
        # An answer has as many places as a prompt, and the first is that of the token which begins it.
        return self.context if max_new_tokens < self.context else 0

    def beams(self, rows: Sequence[Row], max_new_tokens: int) -> list[list[int]]:
        ids_BT, mask_BT = padded([row.ids for row in rows], self.pad, self.model.device)
        found = self.model.generate(
            input_ids=ids_BT,
            attention_mask=mask_BT,
            max_new_tokens=max_new_tokens,
            **self.beam_options,
        )
        return [list(map(int, ids[1:])) for ids in found]

    def loss(
        self, prompts: Sequence[str], answers: Sequence[str], *, prefix_BPW: Tensor | None = None
    ) -> Tensor:
        ids = [self.reader.fitted(prompt, self.context)[0] for prompt in prompts]
        ids_BT, mask_BT = padded(ids, self.pad, self.model.device)
        labels_BU, real_BU = padded(self._answers(answers), self.pad, self.model.device)
        labels_BU = labels_BU.masked_fill(real_BU == 0, -100)
        # Each family shifts labels its own way, and not all of them let others ask for it.
        logits_BUV = self.model(
            input_ids=ids_BT, attention_mask=mask_BT, labels=labels_BU, use_cache=False
        ).logits
        return answer_loss(logits_BUV, labels_BU)

    def num_tokens(
        self, prompts: Sequence[str], answers: Sequence[str], *, prefix_BPW: Tensor | None = None
    ) -> list[int]:
        return [max(1, len(ids)) for ids in self._answers(answers)]

    def _answers(self, answers: Sequence[str]) -> list[list[int]]:
        """Ids of right answers, with the token that ends them."""
        right = self.tokenizer(
            text_target=[whole(answer) for answer in answers], truncation=True, max_length=self.context
        )
        found: list[list[int]] = right["input_ids"]
        return found


def padded(ids: Sequence[Sequence[int]], pad: int, device: torch.device) -> tuple[Tensor, Tensor]:
    """Ids and mask, padded on the right; an empty row has one place of padding that counts."""
    rows = [torch.tensor(list(one) or [pad], device=device) for one in ids]
    mask = [torch.ones_like(one) for one in rows]
    pad_sequence = nn.utils.rnn.pad_sequence
    return pad_sequence(rows, batch_first=True, padding_value=pad), pad_sequence(mask, batch_first=True)


def build(**options: Any) -> Seq2SeqWriter:
    """Build ``generation.seq2seq``; ``options`` are the fields of ``Seq2SeqConfig``.

    Raises:
        ConfigError: an option that cannot be right, or a model of another kind.
        CheckpointError: the checkpoint is not there, not reachable, or not complete.
    """
    given = Seq2SeqConfig(**options)
    check(given, "generation.seq2seq")
    model, tokenizer = load(given, AutoModelForSeq2SeqLM)
    return Seq2SeqWriter(model, tokenizer, given).eval()
