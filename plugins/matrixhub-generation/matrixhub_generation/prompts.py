"""Prompts to token ids that fit: put into a chat, cut, or cut into pieces."""

import functools
import re
from collections.abc import Callable, Iterator
from typing import Any

_BREAK = re.compile(r"[.!?;]\s|[。！？；\n]")
_SPACE = re.compile(r"\s")
_LEAST_PIECE = 8
"""A prompt whose words around the value leave less than this part of the room is not answered in pieces."""
_WORDS = "something that is said"
_SURROGATE = re.compile("[\ud800-\udfff]")


class Reader:
    """Reads prompts as a model wants them.

    Args:
        tokenizer: of transformers.
        chat: put prompts into its chat template.
        system: what is said before, in a chat.
        keeps_end: of a plain text that is too long the end is kept, since the answer goes on from there.
    """

    def __init__(self, tokenizer: Any, *, chat: bool = False, system: str = "", keeps_end: bool = False):
        self.tokenizer, self.chat, self.system, self.keeps_end = tokenizer, chat, system, keeps_end

    def ids(self, prompt: str) -> list[int]:
        """Of a whole prompt."""
        return self._plain(self._framed(prompt), special=not self.chat)

    @functools.cached_property
    def head(self) -> list[int]:
        """What stands before the user's words in a chat, where a prefix is read as the first of them."""
        head, found, _ = self._framed(_WORDS).partition(_WORDS)
        return self._plain(head, special=False) if found else []

    def _framed(self, prompt: str) -> str:
        if not self.chat:
            return prompt
        said = [{"role": "system", "content": self.system}] if self.system else []
        framed: str = self.tokenizer.apply_chat_template(
            [*said, {"role": "user", "content": prompt}], add_generation_prompt=True, tokenize=False
        )
        return framed

    def _plain(self, text: str, *, special: bool) -> list[int]:
        found: list[int] = self.tokenizer(whole(text), add_special_tokens=special, verbose=False)["input_ids"]
        return found

    def fitted(self, prompt: str, room: int) -> tuple[list[int], bool]:
        """Ids of a prompt, and whether it had to be cut to ``room`` of them: in the value that the template
        tells as the longest, where it was made by one.
        """
        before, value, after = parts(prompt)
        from_end = self.keeps_end and not after
        if from_end:
            count = self._fitting(lambda n: f"{before}{value[len(value) - n :]}", len(value), room)
            kept = value[len(value) - count :]
        else:
            count = self._fitting(lambda n: f"{before}{value[:n]}{after}", len(value), room)
            kept = value[:count]
        ids = self.ids(f"{before}{kept}{after}")
        cut = count < len(value)
        if len(ids) > room:  # what stands around the value is too long already
            return (ids[-room:] if self.keeps_end else ids[:room]), True
        return ids, cut

    def pieces(self, prompt: str, room: int) -> Iterator[str]:
        """Prompts that fit, each with a piece of the long value; cut between sentences where it can be. What
        stands around the value may leave no room for pieces to speak of: then the prompt as it is, to be cut.
        """
        before, value, after = parts(prompt)
        least = max(1, room // _LEAST_PIECE)
        if self._fits(prompt, room) or not self._fits(f"{before}{after}", room - least):
            yield prompt
            return
        while value:
            count = self._fitting(lambda n, value=value: f"{before}{value[:n]}{after}", len(value), room)  # type: ignore[misc]
            if count < len(value):
                count = _end_of_sentence(value, max(count, 1))
            yield f"{before}{value[:count].strip()}{after}"
            value = value[count:].lstrip()

    def with_value(self, prompt: str, value: str) -> str:
        """The same prompt about something else, of which the same part may be cut."""
        before, _, after = parts(prompt)
        kind: Any = type(prompt)
        made: str = kind(before, value, after) if hasattr(prompt, "parts") else f"{before}{value}{after}"
        return made

    def _fitting(self, made: Callable[[int], str], most: int, room: int) -> int:
        """How many characters, of ``most``, a prompt may have to fit; no long text is read as a whole."""
        low, high = 0, min(most, 2 * room + 16)
        while high < most and self._fits(made(high), room):
            low, high = high, min(most, 2 * high)
        if self._fits(made(high), room):
            return high
        while high - low > 1:
            middle = (low + high) // 2
            if self._fits(made(middle), room):
                low = middle
            else:
                high = middle
        return low

    def _fits(self, prompt: str, room: int) -> bool:
        return len(self.ids(prompt)) <= room

    def answer_ids(self, prompt: str, answer: str) -> list[int]:
        """Of a right answer behind a prompt, as the model would write it; without what ends a text."""
        spaced = not self.chat and prompt and not prompt[-1].isspace() and not self._adds_space
        return self._plain(f" {answer}" if spaced else answer, special=False)

    @property
    def _adds_space(self) -> bool:
        """Whether the tokenizer itself begins a text with a space, as SentencePiece does."""
        first = self.tokenizer.convert_ids_to_tokens(self._plain("a", special=False)[:1])
        return bool(first and first[0].startswith("\u2581"))


def whole(text: str) -> str:
    """A text without halves of characters, which no tokenizer takes."""
    return _SURROGATE.sub("\ufffd", text)


def parts(prompt: str) -> tuple[str, str, str]:
    """What stands before the longest value of a prompt, that value, and what stands behind it."""
    return getattr(prompt, "parts", ("", str(prompt), ""))


def _end_of_sentence(text: str, most: int) -> int:
    """The last good place to cut in the second half of the first ``most`` characters, else ``most``."""
    for pattern in (_BREAK, _SPACE):
        if ends := [found.end() for found in pattern.finditer(text, most // 2, most)]:
            return ends[-1]
    return most
