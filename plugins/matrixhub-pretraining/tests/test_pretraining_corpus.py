"""Documents out of files and sources, cut into sentences, with some held out."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from matrixhub_pretraining.corpus import Corpus
from matrixhub_pretraining.masking import choose
from matrixhub_pretraining.options import CorpusConfig, TokenizerConfig, compose
from matrixhub_pretraining.sentences import sentences
from matrixhub_pretraining.tokens import tokenize
from matrixhub_pretraining.vocabulary import train_tokenizer

from matrixhub import ConfigError, DataError


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("One. Two! Three?", ["One.", "Two!", "Three?"]),
        ("No end", ["No end"]),
        ('He said "Go." Then he went.', ['He said "Go."', "Then he went."]),
        (
            "Dr. Smith of the U.S. Army met J. Doe. They spoke.",
            ["Dr. Smith of the U.S. Army met J. Doe.", "They spoke."],
        ),
        ("It cost 3.5 pounds... or more. Yes.", ["It cost 3.5 pounds... or more.", "Yes."]),
        (
            "今天天气很好。明天会下雨！“你好？”他说。",
            ["今天天气很好。", "明天会下雨！", "“你好？”", "他说。"],
        ),
        ("  ", []),
    ],
)
def test_sentences(text: str, wanted: list[str]) -> None:
    assert list(sentences(text)) == wanted


def corpus(path: Any = None, **options: Any) -> Corpus:
    return Corpus(CorpusConfig(path=path, **options))


def test_text_files_hold_documents_between_blank_lines(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("\n\nOne. Two.\nThree.\n \n\nFour.", "utf-8")
    (tmp_path / "b.txt").write_text("\ufeffFive.\n", "utf-8")
    found = corpus(f"{tmp_path}/*.txt")
    assert [found.sentences(d) for d in found] == [["One.", "Two.", "Three."], ["Four."], ["Five."]]
    assert list(found) == list(found), "it can be walked through again"
    whole = corpus([str(tmp_path / "a.txt")], cut=False)
    assert [whole.sentences(d) for d in whole] == [["One. Two.", "Three."], ["Four."]]


def test_tables_and_sources_hold_a_document_a_row(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_text("\n".join(json.dumps({"body": b}) for b in ("One.\n\nTwo.", None, "Three.")), "utf-8")
    found = corpus(str(path), column="body")
    assert [found.sentences(d) for d in found] == [["One.", "Two."], ["Three."]]
    named = Corpus(CorpusConfig(source="core.table", options={"path": str(path)}, column="body"))
    assert list(named) == list(found)


def test_copies_of_a_document_are_on_one_side(tmp_path: Path) -> None:
    documents = [f"Document {i} is here." for i in range(2000)]
    copies = [f"  {document.upper()}   " for document in documents]
    path = tmp_path / "a.txt"
    path.write_text("\n\n".join([*documents, *copies]), "utf-8")
    found = corpus(str(path), held_out=0.3)
    sides = [found.is_held_out(document) for document in found]
    assert sum(sides[:2000]) == pytest.approx(600, abs=60)
    assert sides[:2000] == sides[2000:]
    other = corpus(str(path), held_out=0.3, seed=1)
    assert sides != [other.is_held_out(document) for document in other]


def test_both_sides_share_no_document(tmp_path: Path) -> None:
    documents = [f"The boat number {i} is old. It is as red as the house." for i in range(60)]
    path = tmp_path / "boats.txt"
    path.write_text("\n\n".join(documents), "utf-8")
    found = corpus(str(path), held_out=0.3)
    documents = list(found)
    train = [d for d in documents if not found.is_held_out(d)]
    tokenizer = train_tokenizer(found.training_sentences, TokenizerConfig(vocab_size=300), max_length=32)
    one, other, digest = tokenize(found, tokenizer)
    assert len(one) == len(train) and len(one) + len(other) == len(documents) == 60
    assert not set(one.rows) & set(other.rows)
    assert sorted([*one.rows, *other.rows]) == list(range(60))
    assert digest == tokenize(found, tokenizer)[2]
    first = tokenizer(found.sentences(train[0]), add_special_tokens=False)["input_ids"]
    assert one.ids[: one.sentences[len(first)]].tolist() == [i for ids in first for i in ids]
    words = tokenizer.convert_ids_to_tokens(one.ids)
    assert [not word.startswith("##") for word in words] == one.starts.tolist()


def test_the_tokenizer_is_berts() -> None:
    texts = ["Äpfel und Birnen, 今天", "Apfel undo"] * 3

    def train(size: int) -> Any:
        return train_tokenizer(lambda: iter(texts), TokenizerConfig(vocab_size=size), max_length=9)

    made = train(60)
    assert made.convert_ids_to_tokens(range(5)) == ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    assert made.tokenize("ÄPFEL") == made.tokenize("apfel")
    assert made.tokenize("今天") == ["今", "天"]
    pair = made("und", "birnen")
    assert made.convert_ids_to_tokens(pair["input_ids"])[0] == "[CLS]" and max(pair["token_type_ids"]) == 1
    assert made.model_max_length == 9
    assert all(train(40).get_vocab() == train(40).get_vocab() for _ in range(5))


def test_wrong_texts(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("One.", "utf-8")
    (tmp_path / "b.csv").write_text("text\nOne.\n", "utf-8")
    (tmp_path / "latin.txt").write_bytes("café".encode("latin-1"))
    (tmp_path / "n.jsonl").write_text('{"text": "a"}\n{"text": "b"}\n', "utf-8")
    with pytest.raises(DataError, match="is a folder: write"):
        corpus(str(tmp_path))
    with pytest.raises(DataError, match="There is no file"):
        corpus(f"{tmp_path}/*.md")
    with pytest.raises(ConfigError, match="one kind of files"):
        corpus([f"{tmp_path}/a.txt", f"{tmp_path}/b.csv"])
    with pytest.raises(DataError, match=r"latin.txt is not UTF-8"):
        list(corpus(f"{tmp_path}/latin.txt"))
    with pytest.raises(DataError, match=r"no column 'body'. Type: corpus.column=NAME, one of text"):
        list(corpus(f"{tmp_path}/b.csv", column="body"))
    with pytest.raises(ConfigError, match="those of a source"):
        corpus(f"{tmp_path}/a.txt", options={"limit": 3})


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ([], "output=FOLDER is needed"),
        (["output=x"], "Give texts"),
        (["output=x", "corpus.path=a", "corpus.source=b"], "one of the four"),
        (["trainer.stpes=3"], "Did you mean 'trainer.steps'"),
        (["steps=3"], "Did you mean 'trainer.steps'"),
        (["trainer.steps"], "is not an option: write KEY=VALUE"),
        (["trainer.steps=many"], "could not be converted to Integer"),
        (["output=x", "corpus.path=a", "model.size=huge"], "Allowed: tiny, mini, small, base"),
        (["output=x", "corpus.path=a", "model.positions=sinusodial"], "Did you mean 'sinusoidal'"),
        (["output=x", "corpus.path=a", "trainer.steps=0"], "must be 1 or more"),
        (["output=x", "corpus.path=a", "objective.masked=1.5"], "it is a share"),
        (["output=x", "corpus.path=a", "objective.masked=0"], "something must be masked"),
        (["output=x", "corpus.path=a", "model.heads=3"], "the heads share the width equally"),
        (["output=x", "corpus.path=a", "trainer.lr=-1"], "must be above 0"),
    ],
)
def test_wrong_options(words: list[str], said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        compose(words)


def test_a_file_of_options_stands_below_the_words(tmp_path: Path) -> None:
    path = tmp_path / "bert.yaml"
    path.write_text(
        "output: x\ncorpus: {source: demo.news, options: {limit: 9}}\ntrainer: {steps: 5, seed: 3}\n"
    )
    found = compose(["trainer.steps=7", "corpus.options.limit=10"], path)
    assert (found.trainer.steps, found.trainer.seed, found.corpus.options) == (7, 3, {"limit": 10})
    path.write_text("trainer: {stpes: 5}\n")
    with pytest.raises(ConfigError, match=r"Did you mean 'trainer.steps'"):
        compose([], path)


def test_chinese_is_cut_between_characters_however_often_they_meet(tmp_path: Path) -> None:
    """As BERT's own tokenizer cuts it: a character is a word, and so whole words are masked one by one."""
    path = tmp_path / "书.txt"
    path.write_text("\n\n".join(f"今天天气很好。这本书很好看！boats {i}" for i in range(40)), "utf-8")
    found = corpus(str(path), held_out=0.3)
    tokenizer = train_tokenizer(found.training_sentences, TokenizerConfig(vocab_size=300), max_length=32)
    assert tokenizer.tokenize("今天很好看") == list("今天很好看")
    chinese = [piece for piece in tokenizer.get_vocab() if not piece.isascii()]
    assert sorted(chinese) == sorted(set("今天天气很好。这本书很好看！"))
    train, _, _ = tokenize(found, tokenizer)
    pieces = tokenizer.convert_ids_to_tokens(train.ids)
    assert all(train.starts[at] for at, piece in enumerate(pieces) if piece in chinese)
    ids = tokenizer.encode("今天 boaty", add_special_tokens=False)
    starts = [not piece.startswith("##") for piece in tokenizer.convert_ids_to_tokens(ids)]
    assert starts[:3] == [True] * 3 and not any(starts[3:]), "two characters and a word of several pieces"
    seen = {
        tuple(choose(np.arange(len(ids)), np.array(starts), share=0.1, rng=np.random.default_rng(seed)))
        for seed in range(60)
    }
    assert seen == {(0,), (1,), tuple(range(2, len(ids)))}
