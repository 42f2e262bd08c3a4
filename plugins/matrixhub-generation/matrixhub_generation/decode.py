"""Rows written token by token: those that end make place for the next, and are not paid for.

Shape suffixes: B rows, V tokens of the vocabulary, P places and W width of a prefix.
"""

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol, runtime_checkable

import torch
from torch import Tensor

from matrixhub_generation.choose import drawn, greedy, sampler


@dataclass(eq=False)
class Row:
    """An answer that is being written.

    Attributes:
        ids: tokens of the prompt.
        prefix_PW: vectors before it.
        new: tokens so far, without the one that ends a text.
        ended: empty as long as it goes on, then ``"stop"`` or ``"length"``.
        sampler: of its random numbers.
    """

    ids: list[int]
    prefix_PW: Tensor | None = None
    new: list[int] = field(default_factory=list)
    ended: str = ""
    sampler: torch.Generator = field(default_factory=torch.Generator)


@dataclass(frozen=True)
class How:
    """How rows are written.

    Attributes:
        max_new_tokens, temperature, top_p: as in ``Generator.generate``.
        seed: of the drawing.
        ends: tokens that end a text.
        stopped: whether the tokens of a row hold what it is to stop at.
        processors: what is done to logits first.
        num_rows: at a time.
        budget: padded tokens of prompts that are read at a time.
    """

    max_new_tokens: int
    temperature: float
    top_p: float
    seed: int
    ends: frozenset[int]
    stopped: Callable[[list[int]], bool]
    processors: Sequence[Any]
    num_rows: int
    budget: int


class Steps(Protocol):
    """A model, one step at a time; a state is all that it remembers of its rows."""

    def share(self, rows: Sequence[Row]) -> None:
        """Read once what the prompts of all rows have in common."""
        ...

    def begin(self, rows: Sequence[Row]) -> tuple[Any, Tensor]:
        """The state of new rows, and logits (B, V) of their first tokens."""
        ...

    def step(self, state: Any, tokens: Sequence[int]) -> Tensor:
        """Logits (B, V) behind one more token each."""
        ...

    def keep(self, state: Any, rows: Sequence[int]) -> Any:
        """The state of some rows."""
        ...

    def written(self, row: Row) -> list[int]:
        """Tokens that the model has seen as text, for processors of logits."""
        ...


@runtime_checkable
class JoiningSteps(Steps, Protocol):
    """Steps of a model that takes rows in while others are on their way."""

    def join(self, state: Any, other: Any) -> Any:
        """The state of the rows of both."""
        ...


def decode(steps: Steps, rows: Sequence[Row], how: How) -> Iterator[Row]:
    """Write all rows; each is given back whenever it has a token more, or has ended."""
    waiting, live, state = deque(rows), list[Row](), None
    joining = steps if isinstance(steps, JoiningSteps) else None
    for row in waiting:
        row.sampler = sampler(how.seed, row.ids)
    while waiting or live:
        if waiting and (not live or (joining and len(live) <= how.num_rows * 3 // 4)):
            fresh = next_rows(waiting, how.budget, how.num_rows - len(live))
            begun, logits_BV = steps.begin(fresh)
            yield from _chosen(steps, fresh, logits_BV, how)
            state = joining.join(state, begun) if joining and live else begun
            live += fresh
        else:
            logits_BV = steps.step(state, [row.new[-1] if row.new else 0 for row in live])
            yield from _chosen(steps, live, logits_BV, how)
        going = [place for place, row in enumerate(live) if not row.ended]
        # A copy of what is remembered costs about what a few dead rows do.
        if not going:
            live, state = [], None
        elif len(live) - len(going) > len(live) // 8 or (waiting and joining):
            live, state = [live[place] for place in going], _kept(steps, state, going, len(live))


def _kept(steps: Steps, state: Any, going: Sequence[int], count: int) -> Any:
    return state if len(going) == count else steps.keep(state, going)


def next_rows(waiting: deque[Row], budget: int, room: int) -> list[Row]:
    """As many rows as there is room for, and their padded prompts fit into the budget; at least one."""
    taken = [waiting.popleft()]
    longest = len(taken[0].ids)
    while waiting and len(taken) < room:
        longest = max(longest, len(waiting[0].ids))
        if longest * (len(taken) + 1) > budget:
            break
        taken.append(waiting.popleft())
    return taken


def _chosen(steps: Steps, rows: Sequence[Row], logits_BV: Tensor, how: How) -> Iterator[Row]:
    """Give each row that goes on its next token, and see whether it ends there."""
    if how.processors:
        logits_BV = _processed(steps, rows, logits_BV, how.processors)
    if how.temperature == 0:
        tokens = greedy(logits_BV)
    else:
        samplers = [row.sampler for row in rows]
        tokens = drawn(logits_BV, samplers, temperature=how.temperature, top_p=how.top_p)
    for row, token in zip(rows, tokens, strict=True):
        if row.ended:
            continue
        if token in how.ends:
            row.ended = "stop"
        else:
            row.new.append(token)
            if how.stopped(row.new):
                row.ended = "stop"
            elif len(row.new) >= how.max_new_tokens:
                row.ended = "length"
        yield row


def _processed(steps: Steps, rows: Sequence[Row], logits_BV: Tensor, processors: Sequence[Any]) -> Tensor:
    found = []
    for row, logits_V in zip(rows, logits_BV.float(), strict=True):
        ids_1T = torch.tensor([steps.written(row)], device=logits_BV.device)
        logits_1V = logits_V[None]
        for processor in processors:
            logits_1V = processor(ids_1T, logits_1V)
        found.append(logits_1V)
    return torch.cat(found)
