"""A generator that learns: a small recurrent network over bytes, which reads vectors before its prompt too.

Shape legend: B rows, P vectors of a prefix, T tokens of the longest row, W width of an embedding.
"""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from matrixhub import Generation

BEGIN, END, NUM_TOKENS = 256, 257, 258


class Scribe(nn.Module):
    """Says byte after byte what it has learned to."""

    def __init__(self, *, width: int, context: int, seed: int) -> None:
        super().__init__()
        self.width, self.context = width, context
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self.embed = nn.Embedding(NUM_TOKENS, width)
            self.cells = nn.GRU(width, 2 * width, batch_first=True)
            self.out = nn.Linear(2 * width, NUM_TOKENS)

    @property
    def spread(self) -> float:
        """Of its embeddings, which learn."""
        return float(self.embed.weight.detach().std())

    def loss(
        self, prompts: Sequence[str], answers: Sequence[str], *, prefix_BPW: Tensor | None = None
    ) -> Tensor:
        """Mean -log p over the bytes of each answer and its end, (B,)."""
        whole, wanted = [], []
        for prompt, answer in zip(prompts, answers, strict=True):
            said = [*answer.encode("utf-8", "replace"), END]
            asked = [BEGIN, *prompt.encode("utf-8", "replace")]
            whole.append(torch.tensor(asked + said[:-1]))
            wanted.append(torch.tensor([-100] * (len(asked) - 1) + said))
        device = self.out.weight.device
        tokens_BT = nn.utils.rnn.pad_sequence(whole, batch_first=True).to(device)
        wanted_BT = nn.utils.rnn.pad_sequence(wanted, batch_first=True, padding_value=-100).to(device)
        logits = self.out(self.cells(self._before(self.embed(tokens_BT), prefix_BPW))[0])
        num_prefix = 0 if prefix_BPW is None else prefix_BPW.shape[1]
        # The first token of a text is said after the last vector of the prefix.
        logits = logits[:, num_prefix:]
        loss_BT = cross_entropy(logits.transpose(1, 2), wanted_BT, reduction="none", ignore_index=-100)
        return loss_BT.sum(dim=1) / (wanted_BT != -100).sum(dim=1)

    def num_tokens(
        self, prompts: Sequence[str], answers: Sequence[str], *, prefix_BPW: Tensor | None = None
    ) -> list[int]:
        """Bytes of each answer, and its end."""
        return [len(answer.encode("utf-8", "replace")) + 1 for answer in answers]

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
        """One text a prompt, each written alone."""
        how: dict[str, Any] = {"limit": max_new_tokens, "temperature": temperature, "top_p": top_p}
        prefixes = [None] * len(prompts) if prefix_BPW is None else list(prefix_BPW[:, None])
        return [
            self._said(prompt, prefix, stop, torch.Generator().manual_seed(seed), **how)
            for prompt, prefix in zip(prompts, prefixes, strict=True)
        ]

    def _before(self, embedded_BTW: Tensor, prefix_BPW: Tensor | None) -> Tensor:
        if prefix_BPW is None:
            return embedded_BTW
        return torch.cat([embedded_BTW[:, :1], prefix_BPW, embedded_BTW[:, 1:]], dim=1)

    @torch.no_grad()
    def _said(
        self, prompt: str, prefix: Tensor | None, stop: Sequence[str], seeded: torch.Generator, **how: Any
    ) -> Generation:
        room = max(0, self.context - how["limit"] - 1 - (0 if prefix is None else prefix.shape[1]))
        whole = list(prompt.encode("utf-8", "replace"))
        asked = [BEGIN, *whole[len(whole) - min(room, len(whole)) :]]
        device, text = self.out.weight.device, ""
        embedded = self._before(self.embed(torch.tensor([asked], device=device)), prefix)
        outputs, state = self.cells(embedded)
        for count in range(how["limit"]):
            token = self._drawn(self.out(outputs[0, -1]).cpu(), seeded, how["temperature"], how["top_p"])
            if token in (BEGIN, END):
                return Generation(text, count, "stop", len(whole) > room)
            text += chr(token)
            if cuts := [text.index(end) for end in stop if end in text]:
                return Generation(text[: min(cuts)], count + 1, "stop", len(whole) > room)
            outputs, state = self.cells(self.embed(torch.tensor([[token]], device=device)), state)
        return Generation(text, how["limit"], "length", len(whole) > room)

    @staticmethod
    def _drawn(logits: Tensor, seeded: torch.Generator, temperature: float, top_p: float) -> int:
        if temperature == 0:
            return int(logits.argmax())
        shares, tokens = (logits / temperature).softmax(0).sort(descending=True)
        kept = shares * (shares.cumsum(0) - shares < top_p)
        return int(tokens[torch.multinomial(kept, 1, generator=seeded)])
