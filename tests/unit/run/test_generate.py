"""What a generator does wrong is told as its fault, and its texts come back in the order of the prompts."""

import dataclasses
import importlib
from types import SimpleNamespace
from typing import Any, cast

import pytest
from accelerate import Accelerator

from matrixhub import Generation
from matrixhub.config.schema import GenerateConfig
from matrixhub.errors import DataError, MatrixHubError, PluginError
from matrixhub.run.generate import write

OPTIONS = {
    "batch_size": 2, "max_new_tokens": 4, "stop": [], "temperature": 0.0, "top_p": 1.0, "seed": 0,
}  # fmt: skip


class Shout:
    """Answers in capitals; ``spoil`` changes what it gives, or raises."""

    context = 128

    def __init__(self, spoil: Any = lambda texts: texts) -> None:
        self.spoil = spoil

    def generate(self, prompts: list[str], **how: Any) -> Any:
        return self.spoil([Generation(prompt.upper(), 1, "stop") for prompt in prompts])


def written(generator: Any, prompts: list[str]) -> list[Generation]:
    return write(generator, prompts, OPTIONS)


def fail(error: Exception) -> Any:
    def spoil(texts: Any) -> Any:
        raise error

    return spoil


def test_texts_come_in_the_order_of_their_prompts() -> None:
    prompts = ["a", "long prompt", "middle", "bb", ""]
    assert [one.text for one in written(Shout(), prompts)] == [prompt.upper() for prompt in prompts]


def handed(monkeypatch: pytest.MonkeyPatch, *, rank: int, ranks: int) -> list[list[int]]:
    """Lengths of the prompts of each batch that a rank hands over, of 200, by the defaults."""
    found: list[list[int]] = []

    def note(texts: list[Generation]) -> list[Generation]:
        found.append([len(text.text) for text in texts])
        return texts

    process = SimpleNamespace(process_index=rank, num_processes=ranks)
    module = importlib.import_module("matrixhub.run.generate")
    monkeypatch.setattr(module, "together", lambda accelerator, work: work())
    monkeypatch.setattr(module, "gather_object", lambda texts: texts)
    prompts = ["a" * (length + 1) for length in range(200)]
    options = dataclasses.asdict(GenerateConfig())
    write(cast(Any, Shout(note)), prompts, options, accelerator=cast(Accelerator, process))
    return found


def test_a_generator_is_handed_far_more_prompts_than_it_computes_at_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The longest first; it fills the place of an answer that has ended."""
    batches = handed(monkeypatch, rank=0, ranks=1)
    assert [len(batch) for batch in batches] == [128, 72]
    assert [length for batch in batches for length in batch] == list(range(200, 0, -1))


def test_ranks_have_as_much_to_write_as_each_other(monkeypatch: pytest.MonkeyPatch) -> None:
    first, second = (
        [length for batch in handed(monkeypatch, rank=rank, ranks=2) for length in batch] for rank in (0, 1)
    )
    assert sorted(first + second) == list(range(1, 201))
    assert len(first) == len(second) and abs(sum(first) - sum(second)) <= 100


@pytest.mark.parametrize(
    ("spoil", "error", "told"),
    [
        (fail(ValueError("no such token")), PluginError, "failed: ValueError: no such token"),
        (lambda texts: texts[1:], PluginError, "0 texts for 1 prompts"),
        (lambda texts: [text.text for text in texts], PluginError, "a str, not a matrixhub.Generation"),
        (fail(DataError("too long", row=0)), DataError, "too long"),
    ],
)
def test_what_it_does_wrong_is_told(spoil: Any, error: type[MatrixHubError], told: str) -> None:
    with pytest.raises(error, match=told):
        written(Shout(spoil), ["a"])
