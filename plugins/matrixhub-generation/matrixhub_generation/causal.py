"""Causal language models: prompts padded on the left, and a beginning that all share read once.

Shape suffixes: B rows, T tokens, P places and W width of a prefix, V tokens of the vocabulary.
"""

import inspect
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import takewhile
from typing import Any

import torch
from torch import Tensor, nn
from transformers import AutoModelForCausalLM
from transformers.cache_utils import Cache

from matrixhub import ConfigError
from matrixhub_generation.cache import copied, empty, keyword, left_padded, put_below, thin
from matrixhub_generation.decode import Row
from matrixhub_generation.plugin import CausalConfig
from matrixhub_generation.prompts import Reader
from matrixhub_generation.weights import check, load
from matrixhub_generation.writer import Writer

SHARED = 8
"""A beginning of so many tokens is worth to be read once."""


@dataclass
class State:
    """What a model remembers of rows: keys and values, and which places hold a token (B, T)."""

    cache: Cache
    mask_BT: Tensor


class CausalSteps:
    """A causal model, step by step; see ``JoiningSteps``.

    Args:
        model: of transformers.
        start: the token that begins every text.
        head: tokens that stand before a prefix, in texts that begin with them.
    """

    def __init__(self, model: Any, start: int, head: Sequence[int]) -> None:
        self.model, self.start, self.head = model, start, head
        taken = inspect.signature(model.forward).parameters
        self._positions = "position_ids" in taken
        self._cache = keyword(model)
        self.keeps_logits = "logits_to_keep" in taken
        self._last = {"logits_to_keep": 1} if self.keeps_logits else {}
        self._shared: tuple[list[int], State] | None = None

    def share(self, rows: Sequence[Row]) -> None:
        """Read the beginning that the prompts of all rows have in common, if there is one to speak of."""
        if len(rows) < 2 or rows[0].prefix_PW is not None:
            return
        # Padding behind the beginning has places too: only a model that is told each token's own may skip it.
        if not self._positions or _counts_places(self.model.config):
            return
        first, last = min(row.ids for row in rows), max(row.ids for row in rows)
        # Each has at least one token of its own, whose logits are wanted.
        most = min(len(row.ids) for row in rows) - 1
        count = next((i for i in range(most) if first[i] != last[i]), most)
        if count >= SHARED:
            self._shared = None
            state, _ = self.begin([Row(first[:count])])
            self._shared = first[:count], state

    def begin(self, rows: Sequence[Row]) -> tuple[State, Tensor]:
        """Prompts read, padded on the left."""
        known, state = self._shared or ([], None)
        states = [self._embedded(row, len(known)) for row in rows]
        width = max(len(one) for one in states)
        given_BT = torch.stack([left_padded(one, width, 0) for one in states])
        real = [torch.ones(len(one), dtype=torch.long, device=self.model.device) for one in states]
        mask_BT = torch.stack([left_padded(one, width, 0) for one in real])
        cache = empty() if state is None else copied(state.cache, len(rows))
        mask_BT = torch.cat([mask_BT.new_ones(len(rows), len(known)), mask_BT], dim=1)
        found = State(cache, mask_BT)
        name = "input_ids" if given_BT.dim() == 2 else "inputs_embeds"
        return found, self._logits(found, {name: given_BT}, width)

    def _embedded(self, row: Row, known: int) -> Tensor:
        """Token ids (T,) of a row; vectors (T, W) where a prefix goes before the prompt."""
        ids_T = torch.tensor(row.ids[known:] or [self.start], device=self.model.device)
        if row.prefix_PW is None:
            return ids_T
        if not row.ids:
            ids_T = ids_T[:0]
        tokens_TW = self.model.get_input_embeddings()(ids_T)
        # A tokenizer may join the last character of the head with the first one of the prompt.
        count = sum(
            1 for _ in takewhile(lambda pair: pair[0] == pair[1], zip(row.ids, self.head, strict=False))
        )
        prefix_PW = row.prefix_PW.to(tokens_TW)
        return torch.cat([tokens_TW[:count], prefix_PW, tokens_TW[count:]])

    def step(self, state: State, tokens: Sequence[int]) -> Tensor:
        """Logits behind one more token each."""
        ids_B1 = torch.tensor(tokens, device=self.model.device)[:, None]
        state.mask_BT = torch.cat([state.mask_BT, torch.ones_like(ids_B1)], dim=1)
        return self._logits(state, {"input_ids": ids_B1}, 1)

    def _logits(self, state: State, given: dict[str, Tensor], width: int) -> Tensor:
        options: dict[str, Any] = {**self._last, self._cache: state.cache}
        if self._positions:
            places_BT = (state.mask_BT.cumsum(dim=1) - 1).clamp(min=0)
            options["position_ids"] = places_BT[:, -width:]
        output = self.model(**given, attention_mask=state.mask_BT, use_cache=True, **options)
        logits_BV: Tensor = output.logits[:, -1]
        return logits_BV

    def keep(self, state: State, rows: Sequence[int]) -> State:
        """Some rows, without places that only the others had."""
        kept = torch.tensor(rows, device=self.model.device)
        mask_BT = state.mask_BT[kept]
        used = mask_BT.any(dim=0)
        columns = None if bool(used.all()) else used.nonzero().squeeze(1)
        thin(state.cache, kept, columns)
        return State(state.cache, mask_BT if columns is None else mask_BT[:, columns])

    def join(self, state: State, other: State) -> State:
        """Rows of both, the shorter ones padded on the left."""
        width = max(state.mask_BT.shape[1], other.mask_BT.shape[1])
        put_below(state.cache, other.cache)
        masks = [left_padded(one.mask_BT, width, 1) for one in (state, other)]
        return State(state.cache, torch.cat(masks))

    def written(self, row: Row) -> list[int]:
        """Prompt and answer."""
        return [*row.ids, *row.new] or [self.start]


def _counts_places(config: Any) -> bool:
    """Whether attention depends on how many places are in between, as windows, chunks and ALiBi do."""
    counted = ("sliding_window", "window_size", "attention_chunk_size", "alibi")
    others = set(getattr(config, "layer_types", None) or ()) - {"full_attention"}
    return bool(others) or any(getattr(config, name, None) for name in counted)


class CausalWriter(Writer):
    """A causal language model as a generator."""

    def __init__(self, model: Any, tokenizer: Any, given: CausalConfig) -> None:
        chat = bool(tokenizer.chat_template) if given.chat is None else given.chat
        if chat and not tokenizer.chat_template:
            raise ConfigError(f"chat=true, but '{given.checkpoint}' has no chat template: set chat=false.")
        super().__init__(
            model, tokenizer, given, Reader(tokenizer, chat=chat, system=given.system, keeps_end=not chat)
        )
        embeddings: nn.Embedding = model.get_input_embeddings()
        self.width: int = embeddings.embedding_dim

    @property
    def spread(self) -> float:
        """Standard deviation of the numbers of its token embeddings."""
        return float(self.model.get_input_embeddings().weight.detach().float().std())

    @property
    def start(self) -> int:
        """The token that begins every text, else one that ends one."""
        known = self.tokenizer.bos_token_id
        return int(known if known is not None else (self.ends or [0])[0])

    @property
    def steps(self) -> CausalSteps:
        head = self.reader.head if self.reader.chat else [self.start]
        return CausalSteps(self.model, self.start, head)

    def room(self, max_new_tokens: int) -> int:
        return self.context - max_new_tokens

    def beams(self, rows: Sequence[Row], max_new_tokens: int) -> list[list[int]]:
        steps = self.steps
        states = [steps._embedded(row, 0) for row in rows]
        width = max(len(one) for one in states)
        given_BT = torch.stack([left_padded(one, width, 0) for one in states])
        masks = [torch.ones(len(one), dtype=torch.long, device=given_BT.device) for one in states]
        name = "input_ids" if given_BT.dim() == 2 else "inputs_embeds"
        found = self.model.generate(
            **{name: given_BT},
            attention_mask=torch.stack([left_padded(one, width, 0) for one in masks]),
            max_new_tokens=max_new_tokens,
            **self.beam_options,
            eos_token_id=self.ends or None,
            pad_token_id=(self.ends or [0])[0],
        )
        new = found if name == "inputs_embeds" else found[:, width:]
        return [list(map(int, ids)) for ids in new]

    def loss(
        self, prompts: Sequence[str], answers: Sequence[str], *, prefix_BPW: Tensor | None = None
    ) -> Tensor:
        rows = [self._lesson(*pair, prefix_BPW) for pair in zip(prompts, answers, strict=True)]
        steps, embed = self.steps, self.model.get_input_embeddings()
        given, labels = [], []
        for place, (ids, answer) in enumerate(rows):
            prefix = None if prefix_BPW is None else prefix_BPW[place]
            # A row without any beginning would have nothing that its first token follows from.
            read = steps._embedded(Row(ids, prefix), 0)
            answer_T = torch.tensor(answer, device=self.model.device)
            given.append(torch.cat([read if read.dim() == 2 else embed(read), embed(answer_T)]))
            labels.append(torch.cat([answer_T.new_full((len(read),), -100), answer_T]))
        inputs_BTW = nn.utils.rnn.pad_sequence(given, batch_first=True)
        labels_BT = nn.utils.rnn.pad_sequence(labels, batch_first=True, padding_value=-100)
        ones = [one.new_ones(len(one)) for one in labels]
        mask_BT = nn.utils.rnn.pad_sequence(ones, batch_first=True)
        labels_BT = labels_BT[:, 1:]
        # Numbers over the whole vocabulary cost much: none where no row has a token of its answer.
        columns = (labels_BT != -100).any(dim=0).nonzero().squeeze(1)
        asked = {"logits_to_keep": columns} if steps.keeps_logits else {}
        logits_BTV = self.model(
            inputs_embeds=inputs_BTW, attention_mask=mask_BT, use_cache=False, **asked
        ).logits
        return answer_loss(logits_BTV if asked else logits_BTV[:, columns], labels_BT[:, columns])

    def num_tokens(
        self, prompts: Sequence[str], answers: Sequence[str], *, prefix_BPW: Tensor | None = None
    ) -> list[int]:
        return [
            len(self._lesson(prompt, answer, prefix_BPW)[1])
            for prompt, answer in zip(prompts, answers, strict=True)
        ]

    def _lesson(self, prompt: str, answer: str, prefix_BPW: Tensor | None) -> tuple[list[int], list[int]]:
        """Ids of a prompt and of its answer with its end, which fit together."""
        taken = 1 if prefix_BPW is None else prefix_BPW.shape[1] + 1
        ids = [*self.reader.answer_ids(prompt, answer), *self.ends[:1]][: max(1, self.context - taken)]
        return self.reader.fitted(prompt, max(1, self.context - taken - len(ids) + 1))[0], ids


def answer_loss(logits_BTV: Tensor, labels_BT: Tensor) -> Tensor:
    """Mean of ``-log p`` over the tokens of each row (B,); those labelled -100 do not count."""
    real_BT = labels_BT != -100
    loss_N = nn.functional.cross_entropy(logits_BTV[real_BT].float(), labels_BT[real_BT], reduction="none")
    rows_N = real_BT.nonzero()[:, 0]
    sums_B = loss_N.new_zeros(len(labels_BT)).index_add(0, rows_N, loss_N)
    return sums_B / real_BT.sum(dim=1).clamp(min=1)


def build(**options: Any) -> CausalWriter:
    """Build ``generation.causal``; ``options`` are the fields of ``CausalConfig``.

    Raises:
        ConfigError: an option that cannot be right, or a model of another kind.
        CheckpointError: the checkpoint is not there, not reachable, or not complete.
    """
    given = CausalConfig(**options)
    check(given, "generation.causal")
    model, tokenizer = load(given, AutoModelForCausalLM)
    if getattr(model, "_is_stateful", False):
        raise ConfigError(
            f"'{given.checkpoint}' ({model.config.model_type}) remembers by other means than attention, which"
            " generation.causal cannot spread over rows."
        )
    return CausalWriter(model, tokenizer, given).eval()
