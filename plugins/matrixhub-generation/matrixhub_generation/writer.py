"""What generators of both kinds share: prompts that fit, texts that end where they must, chunks, beams."""

from abc import abstractmethod
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from matrixhub import ConfigError, Generation
from matrixhub_generation.choose import processors
from matrixhub_generation.decode import How, Row, Steps, decode, next_rows
from matrixhub_generation.plugin import ModelConfig
from matrixhub_generation.prompts import Reader
from matrixhub_generation.weights import save_assets

DEFAULT_CONTEXT = 512
"""Of models that know no limit, as T5 was trained."""


Given = tuple[str, "Tensor | None"]
"""A prompt, and vectors before it."""


class Writer(nn.Module):
    """A model that writes.

    Args:
        model: of transformers.
        tokenizer: its own.
        given: options.
        reader: of prompts.
    """

    def __init__(self, model: Any, tokenizer: Any, given: ModelConfig, reader: Reader) -> None:
        super().__init__()
        self.model, self.tokenizer, self.given, self.reader = model, tokenizer, given, reader
        most = _context(model, tokenizer)
        # Distances, as T5 has them, go on for ever.
        if (
            given.context
            and given.context > most
            and not hasattr(model.config, "relative_attention_num_buckets")
        ):
            raise ConfigError(
                f"context={given.context}: '{given.checkpoint}' ({model.config.model_type}) has {most} places"
                f" for tokens. Set context={most}, or less."
            )
        self.context: int = given.context or most
        self.ends = _ends(model, tokenizer)

    @property
    @abstractmethod
    def steps(self) -> Steps:
        """The model, step by step."""

    @abstractmethod
    def room(self, max_new_tokens: int) -> int:
        """Tokens that a prompt may have."""

    @property
    def beam_options(self) -> dict[str, Any]:
        """Of ``generate`` of transformers; what is not said is left to the checkpoint."""
        said = {name: getattr(self.given, name) for name in ("length_penalty", "early_stopping")}
        known = {name: value for name, value in said.items() if value is not None}
        return {"num_beams": self.given.num_beams, "do_sample": False, **known}

    @abstractmethod
    def beams(self, rows: Sequence[Row], max_new_tokens: int) -> list[list[int]]:
        """Tokens of each answer, by beam search."""

    def generate(
        self,
        prompts: Sequence[str],
        *,
        max_new_tokens: int,
        stop: Sequence[str] = (),
        temperature: float = 0.0,
        top_p: float = 1.0,
        seed: int = 0,
        prefix_BPW: Tensor | None = None,
    ) -> list[Generation]:
        how = {"max_new_tokens": max_new_tokens, "temperature": temperature, "top_p": top_p, "seed": seed}
        prefixes = [None] * len(prompts) if prefix_BPW is None else list(prefix_BPW)
        room = self._room(max_new_tokens, 0 if prefix_BPW is None else prefix_BPW.shape[1])
        if self.given.overflow == "truncate":
            given = list(zip(prompts, prefixes, strict=True))
            return self._answered(given, room=room, stop=stop, how=how)
        return self._chunked(prompts, prefixes, room=room, stop=stop, how=how)

    def _answered(
        self, given: Sequence[Given], *, room: int, stop: Sequence[str], how: dict[str, Any]
    ) -> list[Generation]:
        """Answers to prompts, those that are too long being cut."""
        fitted = [self.reader.fitted(prompt, room) for prompt, _ in given]
        rows = [Row(ids, prefix) for (ids, _), (_, prefix) in zip(fitted, given, strict=True)]
        texts = self._texts(rows, stop, **how)
        return [replace(text, truncated=cut) for text, (_, cut) in zip(texts, fitted, strict=True)]

    def _room(self, max_new_tokens: int, num_vectors: int) -> int:
        room = self.room(max_new_tokens) - num_vectors
        if room < 1:
            behind = f" behind a prefix of {num_vectors} vectors" if num_vectors else ""
            raise ConfigError(
                f"max_new_tokens={max_new_tokens} leaves no room for a prompt{behind}: this generator holds"
                f" {self.context} tokens."
            )
        return room

    def stream(
        self,
        prompt: str,
        *,
        max_new_tokens: int,
        stop: Sequence[str] = (),
        temperature: float = 0.0,
        top_p: float = 1.0,
        seed: int = 0,
        prefix_BPW: Tensor | None = None,
    ) -> Iterator[str]:
        """The text that ``generate`` gives for one prompt, piece by piece as it is written. Arguments as of
        ``generate``.

        Raises:
            ConfigError: the text is looked for by beams, or put together from pieces of the prompt.
        """
        if self.given.num_beams > 1:
            raise ConfigError(
                f"num_beams={self.given.num_beams}: a beam search has no text to stream before its end. Call"
                " generate, or set num_beams=1."
            )
        ids, cut = self.reader.fitted(
            prompt, self._room(max_new_tokens, 0 if prefix_BPW is None else prefix_BPW.shape[1])
        )
        if cut and self.given.overflow == "chunk":
            raise ConfigError(
                "overflow=chunk: this prompt is too long, and answers to its pieces are not streamed. Call"
                " generate, or set overflow=truncate."
            )
        how = self._how(stop, max_new_tokens=max_new_tokens, temperature=temperature, top_p=top_p, seed=seed)
        return self._pieces(Row(ids, None if prefix_BPW is None else prefix_BPW[0]), stop, how)

    @torch.no_grad()
    def _pieces(self, row: Row, stop: Sequence[str], how: How) -> Iterator[str]:
        told = 0
        for _ in decode(self.steps, [row], how):
            text = self._said(row, stop)
            sure = len(text) if row.ended else _sure(text, stop)
            if sure > told:
                yield text[told:sure]
                told = sure

    def save_assets(self, folder: Path) -> None:
        """Write the architecture's config and the tokenizer's files."""
        save_assets(self.model, self.tokenizer, folder)

    @torch.no_grad()
    def _texts(self, rows: Sequence[Row], stop: Sequence[str], **how: Any) -> list[Generation]:
        if self.given.num_beams > 1:
            self._beam_search(rows, stop, how)
        else:
            # The longest first: what is too much for the memory is found out at once, and padding is little.
            ordered = sorted(rows, key=lambda row: -len(row.ids))
            steps = self.steps
            steps.share(rows)
            for _ in decode(steps, ordered, self._how(stop, **how)):
                pass
        return [Generation(self._said(row, stop), len(row.new), row.ended) for row in rows]

    def _how(
        self, stop: Sequence[str], *, max_new_tokens: int, temperature: float, top_p: float, seed: int
    ) -> How:
        def stopped(ids: list[int]) -> bool:
            return bool(stop) and any(one in self._decoded(ids) for one in stop)

        return How(
            max_new_tokens=max_new_tokens,
            temperature=temperature,
            top_p=top_p,
            seed=seed,
            ends=frozenset(self.ends),
            stopped=stopped,
            processors=processors(self.model.generation_config, self.ends),
            num_rows=self.given.num_rows,
            budget=self.given.budget,
        )

    def _beam_search(self, rows: Sequence[Row], stop: Sequence[str], how: dict[str, Any]) -> None:
        if how["temperature"]:
            raise ConfigError(
                f"num_beams={self.given.num_beams} looks for the likeliest text, and"
                f" temperature={how['temperature']} draws one: set one of them back."
            )
        waiting, num_beams = deque(sorted(rows, key=lambda row: -len(row.ids))), self.given.num_beams
        while waiting:
            some = next_rows(waiting, self.given.budget // num_beams, self.given.num_rows // num_beams)
            for row, ids in zip(some, self.beams(some, how["max_new_tokens"]), strict=True):
                end = next((place for place, token in enumerate(ids) if token in self.ends), len(ids))
                row.new = ids[:end]
                said = self._decoded(row.new)
                ended = end < len(ids) or len(ids) < how["max_new_tokens"] or _cut(said, stop) != said
                row.ended = "stop" if ended else "length"

    def _said(self, row: Row, stop: Sequence[str]) -> str:
        """The text of a row so far; the half of a character where it was broken off is left out."""
        text = _cut(self._decoded(row.new), stop)
        return text.rstrip("\ufffd") if row.ended == "length" else text

    def _decoded(self, ids: Sequence[int]) -> str:
        text: str = self.tokenizer.decode(list(ids), skip_special_tokens=True)
        return text.lstrip()

    def _chunked(
        self,
        prompts: Sequence[str],
        prefixes: Sequence[Tensor | None],
        *,
        room: int,
        stop: Sequence[str],
        how: dict[str, Any],
    ) -> list[Generation]:
        """Answers to all pieces, in one go, put together prompt by prompt."""
        pieces = [list(self.reader.pieces(prompt, room)) for prompt in prompts]
        given = [(piece, prefix) for some, prefix in zip(pieces, prefixes, strict=True) for piece in some]
        texts = iter(self._answered(given, room=room, stop=stop, how=how))
        found = [_merged([next(texts) for _ in some]) for some in pieces]
        if self.given.merge == "again":
            again = [place for place, some in enumerate(pieces) if len(some) > 1]
            asked = [self.reader.with_value(prompts[place], found[place].text) for place in again]
            given = [(prompt, prefixes[place]) for prompt, place in zip(asked, again, strict=True)]
            for place, text in zip(again, self._answered(given, room=room, stop=stop, how=how), strict=True):
                found[place] = replace(text, truncated=True)
        return found


def _merged(texts: Sequence[Generation]) -> Generation:
    """Answers to the pieces of one prompt, one after the other."""
    if len(texts) == 1:
        return texts[0]
    text = "\n".join(one.text.strip() for one in texts)
    ended = "length" if any(one.ended == "length" for one in texts) else "stop"
    return Generation(text, sum(one.num_tokens for one in texts), ended, truncated=True)


def _cut(text: str, stop: Sequence[str]) -> str:
    """Before the first of these."""
    return text[: min((text.index(one) for one in stop if one in text), default=len(text))]


def _sure(text: str, stop: Sequence[str]) -> int:
    """How much of a text stays as it is whatever comes: no half of a character, nor of what it stops at."""
    sure = text.rstrip("\ufffd")
    halves = (
        len(some) - size
        for some in (text, sure)
        for one in stop
        for size in range(1, len(one))
        if some.endswith(one[:size])
    )
    return min(len(sure), *halves, len(text))


def _ends(model: Any, tokenizer: Any) -> list[int]:
    """Tokens that end a text; first the one that training puts there."""
    said = model.generation_config.eos_token_id
    said = said if isinstance(said, list) else [said]
    found = [tokenizer.eos_token_id, *said, model.config.eos_token_id]
    return list(dict.fromkeys(one for one in found if isinstance(one, int)))


def _context(model: Any, tokenizer: Any) -> int:
    for name in ("max_position_embeddings", "n_positions"):
        if size := getattr(model.config.get_text_config(decoder=True), name, None):
            return int(size)
    said = int(tokenizer.model_max_length)
    return said if said < 1 << 20 else DEFAULT_CONTEXT
