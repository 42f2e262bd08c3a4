"""Checks of generators: one answer a prompt, that ends where it must and repeats by its seed."""

from collections.abc import Sequence
from typing import Any

from matrixhub.testing.check import check, fail, skip
from matrixhub.testing.exercises import PROMPTS
from matrixhub.testing.subject import Subject, told
from matrixhub.testing.watch import random_states
from matrixhub.types import Generation

MANY = 12
"""Tokens that are asked for."""

SEEDS = range(5)
SAMPLED = {"max_new_tokens": MANY, "temperature": 1.0, "top_p": 0.9}
HOT = 10.0
"""A temperature at which likely and unlikely tokens are drawn almost alike."""


@check("generator", needs=("answers",))
def one_answer_a_prompt(subject: Subject) -> None:
    """It has ``context``, a number of tokens, and ``generate`` gives a ``matrixhub.Generation`` for each
    prompt, in their order; none for no prompts.

    Mend: sort by length as you like, and put results back in their order.
    """
    context = getattr(subject.built, "context", None)
    if not isinstance(context, int) or context < 1:
        fail(f"its context is {context!r}")
    found = generated(subject, PROMPTS)
    if len(found) != len(PROMPTS) or generated(subject, []):
        fail(f"{len(PROMPTS)} prompts have {len(found)} answers, none has {len(generated(subject, []))}")
    for one in found:
        if not isinstance(one, Generation) or one.ended not in ("stop", "length"):
            fail(f"an answer is {one!r}, no Generation that ended by stop or length")
    backwards = generated(subject, PROMPTS[::-1])
    if [one.text for one in backwards[::-1]] != [one.text for one in found]:
        fail("prompts in another order have other answers")


@check("generator", needs=("one_answer_a_prompt", "deterministic_in_eval"))
def prompts_are_answered_alone(subject: Subject) -> None:
    """A prompt has the same greedy answer alone and beside longer ones.

    Mend: pad on the left, and give the model the mask and positions that leave padding out.
    """
    for prompt, among in zip(PROMPTS, generated(subject, PROMPTS), strict=True):
        (alone,) = generated(subject, [prompt])
        if alone.text != among.text:
            fail(f"alone a prompt is answered {alone.text!r}, among others {among.text!r}")


@check("generator", needs=("one_answer_a_prompt",))
def honours_the_limit(subject: Subject) -> None:
    """An answer has at most ``max_new_tokens`` tokens, says how many, and that it ended by length where it
    was cut.

    Mend: stop at the limit, count new tokens only, and set ended="length".
    """
    for limit in (1, 3, MANY):
        for one in generated(subject, PROMPTS, max_new_tokens=limit):
            if not 0 <= one.num_tokens <= limit:
                fail(f"with max_new_tokens={limit} an answer has {one.num_tokens} tokens")
            if one.ended == "length" and one.num_tokens < limit:
                fail(f"an answer of {one.num_tokens} tokens ended by length, and {limit} were allowed")


@check("generator", needs=("one_answer_a_prompt",))
def stops_where_told(subject: Subject) -> None:
    """An answer ends before the first stop sequence, which is not in it, and says ended="stop".

    Mend: look for stop sequences in the text after each token (one may be spread over several), and cut
    there.
    """
    (free,) = generated(subject, PROMPTS[:1], max_new_tokens=MANY)
    if len(free.text.strip()) < 2:
        skip("its answer is too short to be stopped")
    stop = free.text.strip()[-1]
    (found,) = generated(subject, PROMPTS[:1], max_new_tokens=MANY, stop=[stop])
    wanted = free.text[: free.text.index(stop)]
    if found.text != wanted or found.ended != "stop":
        fail(f"{free.text!r}, stopped at {stop!r}, is {found.text!r} and ended by {found.ended}")


@check("generator", needs=("one_answer_a_prompt", "prompts_are_answered_alone"))
def sampling_repeats(subject: Subject) -> None:
    """Sampling with one seed gives the same answer twice, whatever the global seed and the prompts beside it,
    and draws nothing from the global random numbers, nor does a greedy answer.

    Mend: sample with a torch.Generator made from seed, one for each prompt.
    """
    import torch

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        before = random_states()
        first = [one.text for one in _sampled(subject, seed=5)]
        generated(subject, PROMPTS)
        if used := [name for name, state in random_states().items() if state != before.get(name, state)]:
            fail(f"it draws from the global random numbers of {', '.join(used)}")
        torch.manual_seed(2)
        again = [one.text for one in _sampled(subject, seed=5)]
    if first != again:
        fail(f"with seed=5 it answers {first[0]!r}, and then {again[0]!r}")
    for prompt, among in zip(PROMPTS, first, strict=True):
        (alone,) = generated(subject, [prompt], **SAMPLED, seed=5)
        if alone.text != among:
            fail(f"with seed=5 it draws {alone.text!r} for a prompt alone, and {among!r} beside others")


@check("generator", needs=("sampling_repeats", "deterministic_in_eval"))
def temperature_counts(subject: Subject) -> None:
    """At temperature=0 an answer is the same with any seed; at a high one, some of five seeds have another
    answer. One that can say one thing only declares this check as an expected failure.

    Mend: take the likeliest token at 0; otherwise divide the logits by temperature, and draw.
    """
    greedy = {_texts(subject, temperature=0.0, seed=seed) for seed in SEEDS}
    if len(greedy) > 1:
        fail(f"at temperature=0 {len(SEEDS)} seeds have {len(greedy)} different answers")
    if len({_texts(subject, temperature=HOT, seed=seed) for seed in SEEDS}) == 1:
        fail(f"at temperature={HOT:g} {len(SEEDS)} seeds have the same answers")


@check("generator", needs=("one_answer_a_prompt",))
def odd_prompts(subject: Subject) -> None:
    """Empty and odd prompts have an answer; one longer than the context is cut, and marked as truncated.

    Mend: begin an empty prompt with the token that begins texts; cut a long one to context - max_new_tokens.
    """
    odd = {
        "an empty prompt": "",
        "a NUL": "a\0b",
        "a lone surrogate": "a \ud800 b",
        "Chinese": "今天天气很好",
    }
    for name, prompt in odd.items():
        try:
            generated(subject, [prompt])
        except Exception as error:
            fail(f"{name}: it raises {told(error)}")
    (found,) = generated(subject, ["word " * (2 * subject.built.context)])
    if not found.truncated:
        fail(f"a prompt of {2 * subject.built.context} words is answered, and not said to be truncated")


def generated(subject: Subject, prompts: Sequence[str], **options: Any) -> list[Any]:
    """Its answers, eight tokens long where nothing else is asked for."""
    import torch

    with subject.watched(), torch.no_grad():
        return list(subject.built.generate(list(prompts), **{"max_new_tokens": 8, **options}))


def _texts(subject: Subject, *, temperature: float, seed: int) -> tuple[str, ...]:
    found = generated(subject, PROMPTS, max_new_tokens=MANY, temperature=temperature, seed=seed)
    return tuple(one.text for one in found)


def _sampled(subject: Subject, *, seed: int) -> list[Any]:
    return generated(subject, PROMPTS, **SAMPLED, seed=seed)
