"""Greedy answers are those of transformers, alone or among others, however rows are put together."""

import warnings
from pathlib import Path
from typing import Any

import pytest
import torch
from matrixhub_generation.decode import Row

import matrixhub as mh
from matrixhub import ConfigError
from tests.toy_generators import CAUSAL, SEQ2SEQ, build, tiny

all_families = pytest.mark.parametrize("family", (*CAUSAL, *SEQ2SEQ))
all_causal = pytest.mark.parametrize("family", CAUSAL)

PROMPTS = [
    "The capital of France is",
    "a",
    "Summarize the text below in one sentence, and say nothing else. 今天天气很好。",
    "A quiet film",
    "",
    "Rome, and that of Italy, and Paris",
    "这部电影",
]


def by_hand(generator: Any, prompt: str, **options: Any) -> str:
    """What ``generate`` of transformers answers to one prompt."""
    ids = torch.tensor([generator.tokenizer(prompt)["input_ids"] or [1]])
    found = generator.model.generate(
        input_ids=ids, attention_mask=torch.ones_like(ids), do_sample=False, pad_token_id=0, **options
    )[0]
    new = found[1:] if generator.model.config.is_encoder_decoder else found[ids.shape[1] :]
    end = next((place for place, token in enumerate(new.tolist()) if token in generator.ends), len(new))
    return unbroken(str(generator.tokenizer.decode(new[:end], skip_special_tokens=True)).lstrip())


def unbroken(text: str) -> str:
    """Without the halves of characters where it was broken off."""
    return text.rstrip("\ufffd")


def texts(generator: Any, prompts: list[str], **options: Any) -> list[str]:
    return [unbroken(one.text) for one in generator.generate(prompts, **{"max_new_tokens": 12, **options})]


def test_an_answer_that_is_broken_off_ends_with_a_whole_character() -> None:
    generator = build("llama")
    ids = {
        size: generator.tokenizer("好" * 9, add_special_tokens=False)["input_ids"][:size]
        for size in (1, 2, 3, 4)
    }
    broken = [Row([], None, some, "length") for some in ids.values()]
    said = [generator._said(row, ()) for row in broken]
    assert any("\ufffd" in generator._decoded(row.new) for row in broken)
    assert all(text == "好" * len(text) for text in said)
    row = Row([], None, ids[1], "stop")
    assert generator._said(row, ()) == generator._decoded(row.new)


@pytest.mark.parametrize("num_rows", [1, 2, 4, 16])
@all_families
def test_greedy_answers_are_those_of_transformers(family: str, num_rows: int) -> None:
    generator = build(family, num_rows=num_rows)
    wanted = [by_hand(generator, prompt, max_new_tokens=12) for prompt in PROMPTS]
    assert len(set(wanted)) > 4
    assert texts(generator, PROMPTS) == wanted
    assert [texts(generator, [prompt])[0] for prompt in PROMPTS] == wanted


@all_families
def test_nothing_is_used_that_transformers_will_drop(family: str) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error", FutureWarning)
        assert len(texts(build(family), PROMPTS)) == len(PROMPTS)


@all_families
def test_beams_are_those_of_transformers(family: str) -> None:
    generator = build(family, num_beams=3, num_rows=4)
    wanted = [by_hand(generator, prompt, max_new_tokens=8, num_beams=3) for prompt in PROMPTS]
    assert texts(generator, PROMPTS, max_new_tokens=8) == wanted
    with pytest.raises(ConfigError, match=r"num_beams=3 .* temperature=0.5"):
        texts(generator, PROMPTS, temperature=0.5)


@all_causal
def test_rows_of_any_length_come_and_go(family: str) -> None:
    generator = build(family, num_rows=4)
    prompts = [prompt * count for count in (1, 2, 1) for prompt in PROMPTS]
    ends = [" ", "a", "t"]
    wanted = [texts(generator, [prompt], stop=ends)[0] for prompt in prompts]
    lengths = {one.num_tokens for one in generator.generate(prompts, max_new_tokens=12, stop=ends)}
    assert len(lengths) > 3
    assert texts(generator, prompts, stop=ends) == wanted


@all_causal
def test_a_shared_beginning_is_read_once(family: str) -> None:
    generator = build(family, num_rows=2)
    shared = "Summarize the text below in one sentence, and say nothing else. "
    prompts = [shared + prompt for prompt in PROMPTS]
    wanted = [texts(generator, [prompt])[0] for prompt in prompts]
    read: list[int] = []
    handle = generator.model.get_input_embeddings().register_forward_hook(
        lambda module, given, output: read.append(given[0].numel()) if given[0].shape[1] > 1 else None
    )
    assert texts(generator, prompts) == wanted
    handle.remove()
    whole = sum(len(generator.tokenizer(prompt)["input_ids"]) for prompt in prompts)
    assert sum(read) < 0.75 * whole


@pytest.mark.parametrize("family", ["gpt_neo", "mpt", "bloom"])
def test_a_shared_beginning_changes_no_answer_where_places_are_counted(family: str) -> None:
    """Local windows and ALiBi see padding between the beginning and what comes behind."""
    generator = build(family, num_rows=3, attention="eager", context=96)
    shared = "Summarize the text below in one sentence, and say nothing else. "
    prompts = [shared + prompt for prompt in PROMPTS if prompt]
    assert texts(generator, prompts) == [by_hand(generator, prompt, max_new_tokens=12) for prompt in prompts]


@all_families
@pytest.mark.parametrize("penalty", [-2.0, 3.0])
def test_the_length_of_beams_is_that_of_transformers(family: str, penalty: float) -> None:
    how: dict[str, Any] = {"num_beams": 4, "length_penalty": penalty, "early_stopping": True}
    generator = build(family, **how)
    # Ends are rare in toys; where they come often, what the penalty says shows.
    generator.model.generation_config.eos_token_id = list(range(20, 120))
    generator.ends = generator.ends + list(range(20, 120))
    wanted = [by_hand(generator, prompt, max_new_tokens=8, **how) for prompt in PROMPTS[:4]]
    read: list[int] = []
    generate = generator.model.generate

    def counted(**given: Any) -> Any:
        read.append(len(given["attention_mask"]))
        return generate(**given)

    generator.model.generate = counted
    assert texts(generator, PROMPTS[:4], max_new_tokens=8) == wanted
    generator.given.num_rows = 8
    read.clear()
    assert texts(generator, PROMPTS[:4], max_new_tokens=8) == wanted
    assert max(read) == 2
    generator.given.num_rows, generator.given.budget = 16, 4
    read.clear()
    assert texts(generator, PROMPTS[:4], max_new_tokens=8) == wanted
    assert max(read) == 1


def test_a_product_reads_a_shared_beginning_once_and_fills_the_places_of_rows_that_end(
    tmp_path: Path,
) -> None:
    """By the defaults of ``generate``, over more rows than are written at the same time."""
    asked = "Summarize the text below in one sentence, and say nothing else. "
    rows = "\n".join(f"Film number {i},quiet" for i in range(60))
    (tmp_path / "rows.csv").write_text(f"text,answer\n{rows}")
    read: list[tuple[int, ...]] = []
    words = [
        "product=generation", f"product.source.path={tmp_path}/rows.csv", "generator=causal",
        f"generator.checkpoint={tiny('gpt2')}", "generator.num_rows=4", "generate.max_new_tokens=12",
        f"product.outputs.answer.prompt='{asked}{{text}}'", "product.split.fractions=[0.1,0,0.9]",
        "generate.stop=[a,t,e,i]", "launch.cpu=true",
        f"output_dir={tmp_path}/runs", f"cache_dir={tmp_path}/cache",
    ]  # fmt: skip
    product = mh.run(words, quiet=True).load("generation")
    generator = product.model.generator
    generator.model.get_input_embeddings().register_forward_hook(
        lambda module, given, output: read.append(tuple(given[0].shape))
    )
    prompts = [f"{'a film ' * (place % 3)}{place}" for place in range(28)]
    answers = product(prompts)
    shared = len(generator.reader.ids(asked.strip()))
    begun = [shape for shape in read if shape[1] > 1]
    assert [shape[1] >= shared for shape in begun] == [True] + [False] * (len(begun) - 1)
    assert begun[0][0] == 1 and {shape[0] for shape in begun[1:]} < {1, 2, 3, 4}
    assert len(begun) > 1 + len(prompts) / 4  # rows begin while others are on their way
    assert [product(prompt).value for prompt in prompts] == [answer.value for answer in answers]


@all_families
def test_what_is_drawn_depends_on_prompt_and_seed_alone(family: str) -> None:
    generator = build(family, num_rows=3)
    drawn = texts(generator, PROMPTS, temperature=1.0, seed=5)
    torch.manual_seed(0)
    state = torch.random.get_rng_state()
    assert texts(generator, PROMPTS[::-1], temperature=1.0, seed=5) == drawn[::-1]
    assert torch.equal(state, torch.random.get_rng_state())
    assert texts(generator, PROMPTS, temperature=1.0, seed=6) != drawn
    assert texts(generator, PROMPTS, temperature=1.0, top_p=1e-6) == texts(generator, PROMPTS)


@all_families
def test_a_stream_is_the_answer_in_pieces(family: str) -> None:
    generator = build(family)
    for prompt in PROMPTS:
        for how in ({}, {"temperature": 1.0, "seed": 3}):
            (whole,) = texts(generator, [prompt], **how)
            stop = [whole[len(whole) // 2 :][:3]] if len(whole) > 6 else []
            for ends in ([], stop):
                (wanted,) = generator.generate([prompt], max_new_tokens=12, stop=ends, **how)
                pieces = list(generator.stream(prompt, max_new_tokens=12, stop=ends, **how))
                assert "".join(pieces) == wanted.text
    assert len(list(generator.stream(PROMPTS[0], max_new_tokens=12))) > 1


@all_families
def test_a_product_streams_what_a_call_answers(family: str, tmp_path: Path) -> None:
    rows = "\n".join(f"Film number {i},quiet" for i in range(20))
    (tmp_path / "rows.csv").write_text(f"text,answer\n{rows}")
    kind = "seq2seq" if family in SEQ2SEQ else "causal"
    words = [
        "product=generation", f"product.source.path={tmp_path}/rows.csv", f"generator={kind}",
        f"generator.checkpoint={tiny(family)}", "generate.max_new_tokens=12", "generate.temperature=1",
        "product.outputs.answer.prompt='The {text}:'", f"output_dir={tmp_path}/runs", "launch.cpu=true",
        f"cache_dir={tmp_path}/cache",
    ]  # fmt: skip
    product = mh.run(words, quiet=True).load("generation")
    pieces = list(product.stream("quiet end"))
    assert len(pieces) > 1 and "".join(pieces) == product("quiet end").value
    assert "".join(product.stream({"text": "quiet end"}, "answer")) == product("quiet end").value
    with pytest.raises(ConfigError, match=r"output to stream: 'anwser'. Did you mean 'answer'"):
        product.stream("quiet end", "anwser")


def test_what_is_not_written_token_by_token_is_not_streamed() -> None:
    with pytest.raises(ConfigError, match=r"num_beams=3: .* set num_beams=1"):
        build("gpt2", num_beams=3).stream("A film", max_new_tokens=4)
    chunks = build("gpt2", overflow="chunk")
    assert list(chunks.stream("A film", max_new_tokens=4)) == list(
        build("gpt2").stream("A film", max_new_tokens=4)
    )
    with pytest.raises(ConfigError, match=r"overflow=chunk: .* set overflow=truncate"):
        chunks.stream("A film " * 200, max_new_tokens=4)


def test_a_prefix_is_streamed_behind() -> None:
    generator = build("llama")
    prefix = torch.randn(1, 3, generator.width, generator=torch.Generator().manual_seed(1))
    (wanted,) = generator.generate(["A film"], max_new_tokens=8, prefix_BPW=prefix)
    pieces = list(generator.stream("A film", max_new_tokens=8, prefix_BPW=prefix))
    assert "".join(pieces) == wanted.text != generator.generate(["A film"], max_new_tokens=8)[0].text
