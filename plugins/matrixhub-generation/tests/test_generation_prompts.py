"""Prompts that are too long, chats, right answers that are learned, and artifacts that hold all of it."""

from pathlib import Path
from typing import Any

import pytest
import torch
from matrixhub_generation import weights

from matrixhub import CheckpointError, ConfigError, create
from matrixhub.plan.prompt import Prompt
from tests.toy_generators import CAUSAL, SEQ2SEQ, build, save, tiny

all_families = pytest.mark.parametrize("family", (*CAUSAL, *SEQ2SEQ))
all_causal = pytest.mark.parametrize("family", CAUSAL)

LONG = " ".join(f"Film number {i} is quiet." for i in range(40))


@all_families
def test_of_a_long_prompt_the_value_is_cut_and_not_what_is_asked(family: str) -> None:
    reader = build(family).reader
    ids, cut = reader.fitted(Prompt("Summarize: ", LONG, " In short:"), 60)
    said = reader.tokenizer.decode(ids, skip_special_tokens=True)
    assert cut and 50 <= len(ids) <= 60
    assert said.startswith("Summarize: Film number 0") and said.endswith(" In short:")
    whole, uncut = reader.fitted(Prompt("Summarize: ", "a film", " In short:"), 60)
    assert not uncut and len(whole) < 20


def test_what_is_asked_stays_where_another_value_is_too_long_as_well() -> None:
    reader = build("gpt2").reader
    ids, cut = reader.fitted(reader.with_value(Prompt("Summarize: ", "a film", " In short:"), LONG), 60)
    said = reader.tokenizer.decode(ids, skip_special_tokens=True)
    assert cut and said.startswith("Summarize: Film number 0") and said.endswith(" In short:")


@all_families
def test_a_prompt_without_room_is_refused(family: str) -> None:
    generator = build(family)
    with pytest.raises(ConfigError, match="leaves no room for a prompt: this generator holds"):
        generator.generate(["a film"], max_new_tokens=generator.context)
    assert len(generator.generate(["a film"], max_new_tokens=generator.context - 1)) == 1
    if family == "t5":  # counts distances
        assert build(family, context=200).generate(["a film " * 60], max_new_tokens=150)
        return
    with pytest.raises(ConfigError, match=r"context=200: .* has 96 places for tokens. Set context=96"):
        build(family, context=200)


@all_causal
def test_a_prefix_that_leaves_no_room_is_refused(family: str) -> None:
    generator = build(family)
    prefix = torch.zeros(1, generator.context - 8, generator.width)
    with pytest.raises(ConfigError, match="no room for a prompt behind a prefix of"):
        generator.generate(["a film"], max_new_tokens=8, prefix_BPW=prefix)


def test_a_plain_text_goes_on_from_its_end() -> None:
    reader = build("gpt2").reader
    ids, cut = reader.fitted(LONG, 30)
    assert cut and reader.tokenizer.decode(ids).endswith("number 39 is quiet.")
    ids, _ = build("bart").reader.fitted(LONG, 30)
    assert build("bart").tokenizer.decode(ids, skip_special_tokens=True).startswith("Film number 0")


@all_families
def test_pieces_hold_the_whole_text_and_are_answered_one_by_one(family: str) -> None:
    generator = build(family, overflow="chunk", num_rows=3)
    prompt = Prompt("Say: ", LONG, "\nShort:")
    room = generator.room(8)
    pieces = list(generator.reader.pieces(prompt, room))
    assert len(pieces) > 3
    assert all(len(generator.reader.ids(piece)) <= room for piece in pieces)
    assert all(piece.startswith("Say: Film number") and piece.endswith("quiet.\nShort:") for piece in pieces)
    values = [piece.removeprefix("Say: ").removesuffix("\nShort:") for piece in pieces]
    assert " ".join(values) == LONG
    short, found = generator.generate(["Film", prompt], max_new_tokens=8)
    alone = [build(family).generate([piece], max_new_tokens=8)[0] for piece in pieces]
    assert found.text == "\n".join(one.text.strip() for one in alone)
    assert (short.truncated, found.truncated) == (False, True)
    (again,) = build(family, overflow="chunk", merge="again").generate([prompt], max_new_tokens=8)
    assert again.truncated and again.num_tokens <= 8 < found.num_tokens


@pytest.mark.parametrize("family", ["gpt2", "bart"])
def test_what_leaves_no_room_for_pieces_is_cut_and_said_to_be(family: str) -> None:
    generator = build(family, overflow="chunk")
    around = "Film number. " * 40
    prompts = [Prompt(around, LONG, " In short:"), Prompt(around, "", "!"), Prompt(around, "x", "!")]
    room = generator.room(4)
    assert [list(generator.reader.pieces(prompt, room)) for prompt in prompts] == [[one] for one in prompts]
    wanted = build(family).generate(prompts, max_new_tokens=4)
    assert generator.generate(prompts, max_new_tokens=4) == wanted
    assert [one.truncated for one in wanted] == [True, True, True]


@all_families
def test_answers_to_pieces_are_answered_again_together(family: str) -> None:
    generator = build(family, overflow="chunk", merge="again")
    prompts = [Prompt("Say: ", LONG[place:], "\nShort:") for place in (0, 25, 50)] + ["Film"]
    alone = [generator.generate([prompt], max_new_tokens=8)[0] for prompt in prompts]
    counts: list[int] = []
    answered = generator._answered

    def counted(given: Any, **how: Any) -> Any:
        counts.append(len(given))
        return answered(given, **how)

    generator._answered = counted
    assert generator.generate(prompts, max_new_tokens=8) == alone
    assert counts[1:] == [3]


def test_a_chat_is_what_the_template_makes_of_it() -> None:
    plain, chat = build("llama"), build("llama", template=True, system="Be brief.")
    framed = "<|system|>Be brief.</s><|user|>Paris?</s><|assistant|>"
    assert chat.tokenizer.decode(chat.reader.ids("Paris?")) == framed
    assert plain.reader.ids("Paris?") == build("llama", template=True, chat=False).reader.ids("Paris?")
    with pytest.raises(ConfigError, match="no chat template: set chat=false"):
        build("llama", chat=True)


@all_families
def test_the_loss_is_that_of_the_answer_alone(family: str) -> None:
    generator = build(family)
    prompts, answers = ["The capital of France is", "A film"], ["Paris, and Rome", "quiet"]
    together = generator.loss(prompts, answers)
    alone = torch.cat([generator.loss([p], [a]) for p, a in zip(prompts, answers, strict=True)])
    torch.testing.assert_close(together, alone, atol=1e-4, rtol=1e-4)
    tokenizer, model = generator.tokenizer, generator.model
    asked = torch.tensor([tokenizer(prompts[0])["input_ids"]])
    if family in SEQ2SEQ:
        right = torch.tensor([tokenizer(answers[0])["input_ids"]])
        wanted = model(input_ids=asked, labels=right).loss
    else:
        right = torch.tensor([[*tokenizer(f" {answers[0]}", add_special_tokens=False)["input_ids"], 2]])
        labels = torch.cat([torch.full_like(asked, -100), right], dim=1)
        wanted = model(input_ids=torch.cat([asked, right], dim=1), labels=labels).loss
    torch.testing.assert_close(together[0], wanted, atol=1e-4, rtol=1e-4)


@all_families
def test_half_a_character_in_an_answer_is_read_as_such(family: str) -> None:
    generator = build(family)
    found = generator.loss(["a", "a"], ["b\ud800", "b\ufffd"])
    assert float(found[0]) == pytest.approx(float(found[1]), rel=1e-4)


@all_causal
def test_a_prefix_stands_where_tokens_would(family: str) -> None:
    generator = build(family)
    words = generator.tokenizer(" quiet film", add_special_tokens=False)["input_ids"]
    prefix = generator.model.get_input_embeddings()(torch.tensor([words, words])).detach()
    assert prefix.shape[2] == generator.width and generator.spread > 0
    prompts = ["The end", " Rome, and that of Italy"]
    wanted = generator.generate([f" quiet film{prompt}" for prompt in prompts], max_new_tokens=8)
    found = generator.generate(prompts, max_new_tokens=8, prefix_BPW=prefix)
    spelled = [generator.reader.ids(f" quiet film{p}")[1 + len(words) :] for p in prompts]
    assert spelled == [generator.reader.ids(p)[1:] for p in prompts]
    assert [one.text for one in found] == [one.text for one in wanted]
    asked = prefix.requires_grad_()
    loss = generator.loss(prompts, ["a", "a film"], prefix_BPW=asked)
    torch.testing.assert_close(
        loss, generator.loss([f" quiet film{p}" for p in prompts], ["a", "a film"]), atol=1e-4, rtol=1e-4
    )
    loss.mean().backward()
    assert asked.grad is not None and bool(asked.grad.abs().sum(dim=2).gt(0).all())


@pytest.mark.parametrize("num_beams", [1, 3])
@pytest.mark.parametrize("family", ["llama", "gpt2"])
def test_in_a_chat_a_prefix_is_the_beginning_of_what_the_user_says(family: str, num_beams: int) -> None:
    generator = build(family, template=True, system="Be brief.", num_beams=num_beams)
    # Words between the marks too, and a blank that might go with the first word of the prompt.
    generator.tokenizer.chat_template = generator.tokenizer.chat_template.replace("}}|>", "}}|> says ")
    words = generator.tokenizer("A quiet film", add_special_tokens=False)["input_ids"]
    prefix = generator.model.get_input_embeddings()(torch.tensor([words, words])).detach()
    prompts = [", Paris", "; the end"]
    spoken = [f"A quiet film{prompt}" for prompt in prompts]
    whole, bare = generator.reader.ids(spoken[0]), generator.reader.ids(prompts[0])
    place = len(generator.reader.head)
    assert place > 12 and whole == [*bare[:place], *words, *bare[place:]]
    wanted = [one.text for one in generator.generate(spoken, max_new_tokens=8)]
    found = [one.text for one in generator.generate(prompts, max_new_tokens=8, prefix_BPW=prefix)]
    assert found == wanted
    torch.testing.assert_close(
        generator.loss(prompts, ["a", "Rome"], prefix_BPW=prefix), generator.loss(spoken, ["a", "Rome"]),
        atol=1e-4, rtol=1e-4,
    )  # fmt: skip


@all_families
def test_what_is_saved_is_built_again_without_weights(family: str, tmp_path: Path) -> None:
    generator = build(family, template=family not in SEQ2SEQ)
    generator.save_assets(tmp_path)
    again = build(family, checkpoint=str(tmp_path), pretrained=False, gguf_file="gone.gguf")
    again.load_state_dict(generator.state_dict())
    assert {p.suffix for p in tmp_path.iterdir()} == {".json"}
    how: dict[str, Any] = {"max_new_tokens": 8}
    prompts = ["The capital of France is", "a"]
    assert again.generate(prompts, **how) == generator.generate(prompts, **how)


def test_smollm2_without_a_hub_names_the_packaged_one(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(weights, "hub_offline", lambda: True)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    for checkpoint, named in (
        ("HuggingFaceTB/SmolLM2-135M-Instruct", True),
        ("openai-community/gpt2", False),
    ):
        with pytest.raises(CheckpointError, match="is not on this machine") as caught:
            create("generator", "generation.causal", checkpoint=checkpoint)
        assert ("generator=smollm2_packaged" in str(caught.value)) is named


def test_a_checkpoint_without_safetensors_or_of_another_kind_is_refused(tmp_path: Path) -> None:
    folder = Path(save("llama", tmp_path))
    torch.save({}, folder / "pytorch_model.bin")
    (folder / "model.safetensors").unlink()
    with pytest.raises(CheckpointError, match="cannot be loaded"):
        build("llama", checkpoint=str(folder))
    with pytest.raises(ConfigError, match=r"\(t5\) is no model for AutoModelForCausalLM"):
        build("llama", checkpoint=tiny("t5"))
    with pytest.raises(ConfigError, match=r"overflow=drop is unknown .* truncate, chunk"):
        build("llama", overflow="drop")
