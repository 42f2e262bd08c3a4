"""Checks of generators that learn, or that read vectors before a prompt."""

from typing import TYPE_CHECKING, Any

from matrixhub.protocols import LearnsToWrite, Streams, TakesPrefix
from matrixhub.testing.check import check, fail, skip
from matrixhub.testing.compare import apart, is_finite, tolerance
from matrixhub.testing.exercises import PROMPTS
from matrixhub.testing.subject import Subject

if TYPE_CHECKING:
    from torch import Tensor

ANSWERS = ("Paris.", "four, five, six", "more words")
VECTORS = 3
"""Of a prefix."""


@check("generator", needs=("one_answer_a_prompt",))
def learns_from_answers(subject: Subject) -> None:
    """Registered to produce ``"loss"``, its ``loss`` gives one finite number a row, the same alone and among
    others, with a gradient for its weights: the core takes means over rows, whatever batch they are in. Its
    ``num_tokens`` says of how many tokens each of them is the mean.

    Mend: mean of -log p over the tokens of each answer, (B,); mask the prompt and the padding.
    """
    module: Any = subject.build()
    if "loss" not in subject.component.produces:
        skip('it is not registered with produces="loss"')
    if not isinstance(subject.built, LearnsToWrite):
        fail("it has no loss(prompts, answers) or no num_tokens(prompts, answers)")
    found: Any = module.loss(PROMPTS, ANSWERS)
    if tuple(found.shape) != (len(PROMPTS),) or not is_finite(found):
        fail(f"the loss of {len(PROMPTS)} rows is {found!r}, not one finite number for each")
    counts = module.num_tokens(PROMPTS, ANSWERS)
    if len(counts) != len(PROMPTS) or not all(isinstance(one, int) and one > 0 for one in counts):
        fail(f"num_tokens of {len(PROMPTS)} rows is {counts!r}, not one whole number above 0 for each")
    for i, pair in enumerate(zip(PROMPTS, ANSWERS, strict=True)):
        if (count := module.num_tokens([pair[0]], [pair[1]])) != counts[i : i + 1]:
            fail(f"alone num_tokens of a row is {count!r}, among others {counts[i : i + 1]!r}")
        alone = module.loss([pair[0]], [pair[1]])[0]
        if (difference := apart(alone, found[i])) > tolerance(found):
            fail(f"alone the loss of a row differs by {difference:.3g} from that among others")
    found.mean().backward()
    if not any(one.grad is not None and bool(one.grad.any()) for one in module.parameters()):
        fail("no gradient reaches its weights")


@check("generator", needs=("one_answer_a_prompt", "deterministic_in_eval"))
def reads_a_prefix(subject: Subject) -> None:
    """Registered to consume ``"prefix"``, it has width and spread of its embeddings, and answers alike behind
    vectors, before an empty prompt too, alone and among others; where it learns they have a gradient.

    Mend: put prefix_BPW between the embedding of the token that begins a text and those of the prompt.
    """
    module: Any = subject.built
    if "prefix" not in subject.component.consumes:
        skip('it is not registered with consumes="prefix"')
    if not isinstance(subject.built, TakesPrefix) or module.width < 1 or not module.spread > 0:
        fail("it has no width and spread of its embeddings")
    prompts, prefix_BPW = [*PROMPTS, ""], _prefix(module)
    with subject.watched():
        found = module.generate(prompts, max_new_tokens=8, prefix_BPW=prefix_BPW)
        for i, prompt in enumerate(prompts):
            (alone,) = module.generate([prompt], max_new_tokens=8, prefix_BPW=prefix_BPW[i : i + 1])
            if alone.text != found[i].text:
                fail(f"alone it answers {alone.text!r} behind a prefix, among others {found[i].text!r}")
    if "loss" in subject.component.produces and isinstance(subject.built, LearnsToWrite):
        given = prefix_BPW[: len(PROMPTS)].requires_grad_()
        module.loss(PROMPTS, ANSWERS, prefix_BPW=given).sum().backward()
        if given.grad is None or not all(bool(one.any()) for one in given.grad.flatten(0, 1)):
            fail("a vector of the prefix has no gradient: what makes it could not learn")


@check("generator", needs=("stops_where_told", "sampling_repeats"))
def streams_its_answer(subject: Subject) -> None:
    """With a ``stream``, the pieces that it gives are together what ``generate`` answers, drawn or not, and
    gradients are as they were between two pieces.

    Mend: give no text that may still change or be cut, such as half of a stop sequence or of a character.
    """
    import torch

    module: Any = subject.built
    if not isinstance(subject.built, Streams):
        skip("it has no stream")
    hows: list[dict[str, Any]] = [{}, {"temperature": 1.0, "seed": 5}]
    (whole,) = module.generate(PROMPTS[:1], max_new_tokens=8)
    if len(whole.text.strip()) > 1:
        hows.append({"stop": [whole.text.strip()[-2:]]})
    for how in hows:
        for prompt in PROMPTS:
            (wanted,) = module.generate([prompt], max_new_tokens=8, **how)
            with torch.enable_grad():
                found = []
                for piece in module.stream(prompt, max_new_tokens=8, **how):
                    found.append(piece)
                    if not torch.is_grad_enabled():
                        fail("it leaves gradients switched off between two pieces")
            if "".join(found) != wanted.text:
                fail(f"its pieces are {''.join(found)!r} together, its answer is {wanted.text!r}")


def _prefix(module: Any) -> "Tensor":
    """Of the prompts and an empty one, (B, P, W)."""
    import torch

    made = torch.Generator().manual_seed(4)
    return module.spread * torch.randn(len(PROMPTS) + 1, VECTORS, module.width, generator=made)  # type: ignore[no-any-return]
