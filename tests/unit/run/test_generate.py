"""What a generator does wrong is told as its fault, and its texts come back in the order of the prompts."""

from typing import Any

import pytest

from matrixhub import Generation
from matrixhub.errors import DataError, MatrixHubError, PluginError
from matrixhub.run.generate import write

OPTIONS = {
    "batch_size": 2, "max_new_tokens": 4, "stop": [], "temperature": 0.0, "top_p": 1.0, "seed": 0,
}  # fmt: skip


class Shout:
    """Answers in capitals; ``spoil`` changes what it gives, or raises."""

    context = 16

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
