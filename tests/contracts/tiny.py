"""How to build first-party components small, as their authors declare it to the conformance kit."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import torch
from PIL import Image

Options = Callable[[Path], dict[str, Any]]
"""From an empty folder to the options of a tiny component."""

WORDS = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "a", "quiet", "film", "word", "##s", ",", "好", "看")


def tiny_bert(folder: Path) -> str:
    """A checkpoint of a BERT with 13 words and two layers, as its publisher would save it."""
    import transformers
    from tokenizers import BertWordPieceTokenizer

    ids = {word: number for number, word in enumerate(WORDS)}
    special = dict(
        zip(("pad_token", "unk_token", "cls_token", "sep_token", "mask_token"), WORDS, strict=False)
    )
    tokenizer = BertWordPieceTokenizer(vocab=ids)._tokenizer
    transformers.PreTrainedTokenizerFast(tokenizer_object=tokenizer, **special).save_pretrained(folder)
    torch.manual_seed(0)
    sizes = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 32}
    config = transformers.BertConfig(vocab_size=len(WORDS), max_position_embeddings=48, **sizes)
    transformers.BertModel(config).save_pretrained(folder)
    return str(folder)


def timm(model: str, **options: Any) -> Options:
    return lambda folder: {"model": model, "pretrained": False, "size": 64, **options}


def transformer(pooling: str) -> Options:
    return lambda folder: {
        "checkpoint": tiny_bert(folder), "pooling": pooling, "max_length": 12, "normalize": pooling == "mean",
    }  # fmt: skip


def csv(folder: Path) -> dict[str, Any]:
    for number in range(25):
        (folder / f"{number}.png").touch()
    (folder / "rows.csv").write_text(
        "text,label,photo\n" + "".join(f"word {i},{i % 3},{i}.png\n" for i in range(25))
    )
    return {"path": str(folder / "rows.csv"), "paths": ["photo"]}


def jsonl(folder: Path) -> dict[str, Any]:
    for split, rows in (("train", 20), ("test", 5)):
        lines = (json.dumps({"words": ["a", str(i)], "size": i / 2}) for i in range(rows))
        (folder / f"{split}.jsonl").write_text("\n".join(lines))
    return {"path": {split: str(folder / f"{split}.jsonl") for split in ("train", "test")}}


def photos(folder: Path) -> dict[str, Any]:
    for name in ("cat", "dog"):
        (folder / name).mkdir()
        for number in range(6):
            Image.new("RGB", (8, 8), (number * 20, 0, 0)).save(folder / name / f"{number}.png")
    return {"path": str(folder)}


def emoji(folder: Path) -> dict[str, Any]:
    """As npm unpacks the drawings and their names, with 12 of them."""
    drawings, names = folder / "emoji-datasource-google", folder / "emojibase-data"
    codes = [f"{0x1F600 + number:X}" for number in range(12)]
    listed = [{"unified": code, "image": f"{code.lower()}.png", "category": "Faces"} for code in codes]
    for part in (drawings, names / "en", names / "zh"):
        part.mkdir(parents=True)
    for package in (drawings, names):
        (package / "package.json").write_text(json.dumps({"version": "1.0.0"}))
    (drawings / "emoji.json").write_text(json.dumps(listed))
    for language in ("en", "zh"):
        said = [{"hexcode": code, "label": f"{language} {code}", "tags": ["face"]} for code in codes]
        (names / language / "data.json").write_text(json.dumps(said))
    return {"path": str(folder)}


def dataset(folder: Path) -> dict[str, Any]:
    import datasets

    table = pa.table({"text": [f"word {i}" for i in range(25)], "label": [i % 2 for i in range(25)]})
    datasets.DatasetDict({"train": datasets.Dataset(table)}).save_to_disk(folder / "saved")
    return {"path": str(folder / "saved")}


OPTIONS: dict[str, dict[str, Any]] = {
    "core": {
        "source.table@csv": csv,
        "source.table@jsonl": jsonl,
        "source.images": photos,
        "source.dataset": dataset,
    },
    "heads": {"head.mlp": {"hidden": [16]}},
    "text": {f"encoder.transformer@{pooling}": transformer(pooling) for pooling in ("mean", "cls", "max")},
    "vision": {
        "encoder.timm@resnet": timm("resnet10t"),
        "encoder.timm@vit": timm("vit_tiny_patch16_224"),
        "encoder.timm@efficientnet": timm("efficientnet_lite0"),
        "encoder.timm@mobilenet_v3": timm("mobilenetv3_small_050"),
        "encoder.timm@mobilenet": timm("mobilenetv2_035", pooling="avg", channels_last=False),
    },
    "demo": {
        **{
            f"source.{name}": {"limit": 20}
            for name in ("news", "reviews", "reviews_zh", "textile", "digits", "entities")
        },
        "source.emoji": emoji,
    },
    "fixture": {
        "encoder.hash_text": {"dim": 8, "max_length": 6, "layers": 2},
        "encoder.mean_image": {"dim": 8},
        "source.toy@plain": {"rows": 20},
        "source.toy@split": {"rows": 20, "given_split": True},
    },
}
"""By namespace, the options that the kit is told."""

EXPECTED = {
    "encoder.timm@mobilenet_v3": {
        "declared_shapes": "its tokens are the last feature map, narrower than what it pools"
    }
}
"""Known failures of first-party components."""
