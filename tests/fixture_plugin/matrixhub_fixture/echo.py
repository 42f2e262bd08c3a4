"""A generator small enough to read at a glance: it says words of the prompt again, from the first on."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from matrixhub import Generation

PLACES = 64


class Echo(nn.Module):
    """Token by token, one word of the prompt each: the first, the second, and so on, around and around.

    Its one parameter has the logit of saying the word so many places ahead of the one that is due: drawn
    words stray from the order, likeliest ones do not.
    """

    def __init__(self, *, context: int, times: int) -> None:
        super().__init__()
        self.context = context
        self.times = times
        self.ahead = nn.Parameter(2 - 4 * torch.arange(PLACES) / (PLACES - 1))

    def generate(
        self,
        prompts: Sequence[str],
        *,
        max_new_tokens: int,
        stop: Sequence[str] = (),
        temperature: float = 0.0,
        top_p: float = 1.0,
        seed: int = 0,
    ) -> list[Generation]:
        """Each prompt so many times over, unless something ends it before."""
        seeded = torch.Generator().manual_seed(seed)
        # Drawn for all prompts alike: an answer does not depend on what else is in the batch.
        steps = self._steps(max_new_tokens, temperature, top_p, seeded)
        return [self._said(prompt, steps, stop, max_new_tokens) for prompt in prompts]

    def _steps(self, count: int, temperature: float, top_p: float, seeded: torch.Generator) -> list[int]:
        if temperature == 0:
            return [int(self.ahead.argmax())] * count
        shares, places = (self.ahead.detach().cpu() / temperature).softmax(0).sort(descending=True)
        kept: Tensor = shares * (shares.cumsum(0) - shares < top_p)
        return places[torch.multinomial(kept, count, replacement=True, generator=seeded)].tolist()

    def _said(self, prompt: str, steps: Sequence[int], stop: Sequence[str], limit: int) -> Generation:
        words = prompt.split()
        kept = words[: max(1, self.context - limit)]
        said: list[str] = []
        for due in range(min(limit, self.times * len(kept))):
            said.append(kept[(due + steps[due]) % len(kept)])
            text = " ".join(said)
            if cuts := [text.index(end) for end in stop if end in text]:
                return Generation(text[: min(cuts)].rstrip(), len(said), "stop", len(kept) < len(words))
        ended = "stop" if len(said) == self.times * len(kept) else "length"
        return Generation(" ".join(said), len(said), ended, len(kept) < len(words))
