"""How to build each registered component small: a component without an entry fails its contract.

A new encoder, head, fusion or source gets a line here, and with it every test of its kind.
"""

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import torch
from PIL import Image

from matrixhub.registry import Component

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


ENCODERS: dict[str, dict[str, Options]] = {
    "fixture.hash_text": {"plain": lambda folder: {"dim": 8, "max_length": 6, "layers": 2}},
    "fixture.mean_image": {"plain": lambda folder: {"dim": 8}},
    "text.transformer": {
        pooling: lambda folder, pooling=pooling: {  # type: ignore[misc]
            "checkpoint": tiny_bert(folder), "pooling": pooling, "max_length": 12,
            "normalize": pooling == "mean",
        }
        for pooling in ("mean", "cls", "max")
    },
    "vision.timm": {
        "resnet": timm("resnet10t"),
        "vit": timm("vit_tiny_patch16_224"),
        "efficientnet": timm("efficientnet_lite0"),
        "mobilenet_v3": timm("mobilenetv3_small_050"),
        "mobilenet": timm("mobilenetv2_035", pooling="avg", channels_last=False),
    },
}  # fmt: skip

HEADS: dict[str, dict[str, Any]] = {
    "heads.linear": {},
    "heads.mlp": {"hidden": [16]},
    "heads.pair": {},
}

FUSIONS: dict[str, dict[str, Any]] = {"core.concat": {}}


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


def dataset(folder: Path) -> dict[str, Any]:
    import datasets

    table = pa.table({"text": [f"word {i}" for i in range(25)], "label": [i % 2 for i in range(25)]})
    datasets.DatasetDict({"train": datasets.Dataset(table)}).save_to_disk(folder / "saved")
    return {"path": str(folder / "saved")}


def limited(folder: Path) -> dict[str, Any]:
    return {"limit": 20}


SOURCES: dict[str, dict[str, Options]] = {
    "core.table": {"csv": csv, "jsonl": jsonl},
    "core.images": {"folder": photos},
    "core.dataset": {"saved": dataset},
    "fixture.toy": {
        "plain": lambda folder: {"rows": 20},
        "split": lambda folder: {"rows": 20, "given_split": True},
    },
    "demo.news": {"limited": limited},
    "demo.reviews": {"limited": limited},
    "demo.textile": {"limited": limited},
    "demo.digits": {"limited": limited},
    "demo.entities": {"limited": limited},
}


def values(modality: str) -> Sequence[Any]:
    """Rows that are easy and hard to encode, of very different lengths or sizes."""
    match modality:
        case "text":
            return ["a quiet film", "word", "", "words, words, 好看 and a film " * 4, "?", "a , a"]
        case "image":
            sizes = ((64, 64), (40, 90), (7, 5), (200, 64))
            return [Image.effect_mandelbrot(size, (-2, -1, 1, 1), 20).convert("RGB") for size in sizes]
    raise NotImplementedError(f"give tests/contracts/tiny.py some values of modality {modality}")


def variants(
    components: Sequence[Component], table: dict[str, dict[str, Options]]
) -> list[tuple[Component, str]]:
    """Every component with each of its entries; with none, once, so that it fails."""
    return [(c, name) for c in components for name in table.get(c.name, {"no entry in tiny.py": None})]
