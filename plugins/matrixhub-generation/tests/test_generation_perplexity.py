"""Perplexity of right answers is what transformers gives by hand: of a product and its artifact."""

import json
import math
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers

import matrixhub as mh
from matrixhub.cli.main import main
from tests.toy_generators import SEQ2SEQ, tiny

ROWS = [
    ("The capital of France is", "Paris."),
    ("the", "a quiet film whose ending stays with you, and then some more"),
    ("今天天气", "很好"),
    ("Rome, and that of Italy", "in one sentence, say nothing else"),
]


def table(folder: Path) -> Path:
    """Test rows, and others to learn from."""
    more = {"test": "", "train": ", they say,", "validation": ", so to say,"}
    lines = [
        {"text": f"{text}{more[split]}", "answer": answer, "split": split}
        for split in more
        for text, answer in ROWS
    ]
    path = folder / "rows.jsonl"
    path.write_text("\n".join(map(json.dumps, lines)))
    return path


def run(folder: Path, family: str, *overrides: str, chat: bool = False) -> mh.Run:
    kind = "seq2seq" if family in SEQ2SEQ else "causal"
    return mh.run(
        [
            "product=generation", f"product.source.path={table(folder)}", "product.split.column=split",
            f"generator={kind}", f"generator.checkpoint={tiny(family, chat=chat)}",
            "product.outputs.answer.metrics=[perplexity]", "generate.max_new_tokens=2",
            f"output_dir={folder}/runs", f"cache_dir={folder}/cache", "launch.cpu=true", *overrides,
        ],
        quiet=True,
    )  # fmt: skip


def by_hand(family: str, *, chat: bool = False) -> tuple[list[float], list[int]]:
    """Sums of -log p over the tokens of each right answer and its end, and how many there are."""
    folder = tiny(family, chat=chat)
    kind = transformers.AutoModelForSeq2SeqLM if family in SEQ2SEQ else transformers.AutoModelForCausalLM
    model, tokenizer = kind.from_pretrained(folder).eval(), transformers.AutoTokenizer.from_pretrained(folder)
    sums, counts = [], []
    for text, answer in ROWS:
        given = {"input_ids": torch.tensor([tokenizer(text)["input_ids"]])}
        if family in SEQ2SEQ:
            labels = torch.tensor([tokenizer(answer)["input_ids"]])
            told = int((labels != -100).sum())
        else:
            spoken = f"<|user|>{text}</s><|assistant|>{answer}" if chat else f"<s>{text} {answer}"
            whole = [*tokenizer(spoken, add_special_tokens=False)["input_ids"], tokenizer.eos_token_id]
            right = answer if chat else f" {answer}"
            told = len(tokenizer(right, add_special_tokens=False)["input_ids"]) + 1
            given = {"input_ids": torch.tensor([whole])}
            labels = torch.tensor([[-100] * (len(whole) - told) + whole[-told:]])
        with torch.no_grad():
            sums.append(float(model(**given, labels=labels).loss) * told)
        counts.append(told)
    return sums, counts


@pytest.mark.parametrize(
    ("family", "chat"), [("llama", False), ("llama", True), ("gpt2", False), ("t5", False)]
)
def test_it_is_that_of_a_token_as_transformers_has_it(family: str, chat: bool, tmp_path: Path) -> None:
    (record,) = run(tmp_path, family, chat=chat).records
    assert record["status"] == "done", record["error"]
    sums, counts = by_hand(family, chat=chat)
    assert max(counts) > 3 * min(counts)
    found = record["metrics"]["answer"]["perplexity"]
    assert found == pytest.approx(math.exp(sum(sums) / sum(counts)), rel=1e-4)
    rows = [total / count for total, count in zip(sums, counts, strict=True)]
    assert found != pytest.approx(math.exp(sum(rows) / len(rows)), rel=3e-3)
    assert not any("perplexity" in one for one in record["baselines"]["answer"].values())


def test_evaluate_says_the_same_of_the_artifact(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    done = run(tmp_path, "llama", "trainer=finetune", "trainer.epochs=3", "trainer.lr=1e-2")
    (record,) = done.records
    test = tmp_path / "test.jsonl"
    test.write_text("\n".join((tmp_path / "rows.jsonl").read_text().splitlines()[: len(ROWS)]))
    capsys.readouterr()
    assert main(["evaluate", record["artifact"], str(test), "--json"]) == 0
    found: Any = json.loads(capsys.readouterr().out)["metrics"]["answer"]
    assert found["perplexity"] == pytest.approx(record["metrics"]["answer"]["perplexity"], rel=1e-4)
    sums, counts = by_hand("llama")
    assert found["perplexity"] != pytest.approx(math.exp(sum(sums) / sum(counts)), rel=3e-3)


def test_a_generator_without_likelihood_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["product=generation", f"product.source.path={table(tmp_path)}", "generator=echo"]
    assert main(["plan", *words, "product.outputs.answer.metrics=[perplexity]"]) == 2
    reason = capsys.readouterr().err
    assert "'fixture.echo' does not tell how likely a text is, so output 'answer' has no perplexity" in reason
    assert "product.outputs.answer.metrics" in reason
