"""Three outputs on one encoder that trains, beside one of them; two products jointly, beside each alone."""

import argparse
import json
import statistics
import tempfile
from pathlib import Path
from typing import Any

from measure import arguments, report

import matrixhub as mh

OUTPUTS = {
    "topic": {"task": "classification", "target": "label"},
    "length": {"task": "regression", "target": "words"},
    "kind": {"task": "classification", "target": "kind"},
}


PRODUCTS = ("reviews", "news")
PRODUCT_ROWS = 800
WAYS = {
    "alone": (),
    "proportional": ("trainer.joint=proportional",),
    "proportional, uncertainty": ("trainer.joint=proportional", "trainer.balance=uncertainty"),
    "round_robin": ("trainer.joint=round_robin",),
}


def main() -> None:
    args = arguments(__doc__ or "", rows=500, rounds=2)
    several_outputs(args)
    several_products(args)


def several_outputs(args: argparse.Namespace) -> None:
    """Seconds with one output and with three."""
    seconds: dict[int, list[float]] = {1: [], 3: []}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_rows(folder / "rows.jsonl", args.rows)
        for turn in range(args.rounds + 1):
            for count, found in seconds.items():
                took = trained(folder, count)
                if turn:  # the first time warms up
                    found.append(took)
    one, three = (statistics.median(found) for found in seconds.values())
    ratio = statistics.median(b / a for a, b in zip(*seconds.values(), strict=True))
    rows: list[dict[str, object]] = [
        {"outputs": "topic", "seconds": one, "times one": 1.0},
        {"outputs": ", ".join(OUTPUTS), "seconds": three, "times one": ratio},
    ]
    report(f"joint, {args.rows} news articles, MiniLM trained in full for one epoch", rows, args.json)


def several_products(args: argparse.Namespace) -> None:
    """Scores on the test rows and seconds of training, each way once."""
    rows: list[dict[str, object]] = []
    for name, options in WAYS.items():
        with tempfile.TemporaryDirectory() as folder:
            overrides = [f"product={','.join(PRODUCTS)}", f"product.source.limit={PRODUCT_ROWS}"]
            overrides += ["trainer=finetune", "trainer.epochs=2", "head=linear", "baseline=false", *options]
            places = [f"output_dir={folder}/runs", f"cache_dir={folder}/cache"]
            records = mh.run([*overrides, *places], multirun=True, quiet=True).records
        scores = {record["product"]: score(record) for record in records}
        rows.append({"trained": name, **scores, "seconds": sum(float(r["train_seconds"]) for r in records)})
    title = f"{' and '.join(PRODUCTS)}, {PRODUCT_ROWS} rows each, MiniLM trained in full for two epochs"
    report(title, rows, args.json and args.json.with_stem(f"{args.json.stem}-products"))


def score(record: dict[str, Any]) -> float:
    """Accuracy of the only output."""
    ((_, metrics),) = record["metrics"].items()
    return float(metrics["accuracy"])


def write_rows(path: Path, count: int) -> None:
    """News articles with a topic, a number of words, and whether that is above the median."""
    table = mh.create("source", "demo.news", limit=count).read()
    texts, labels = table["text"].to_pylist(), table["label"].to_pylist()
    words = [len(text.split()) for text in texts]
    middle = statistics.median(words)
    rows = [
        {"text": text, "label": label, "words": number, "kind": "long" if number > middle else "short"}
        for text, label, number in zip(texts, labels, words, strict=True)
    ]
    path.write_text("\n".join(map(json.dumps, rows)))


def trained(folder: Path, count: int) -> float:
    """Seconds of training with the first so many outputs."""
    conf = folder / "conf" / "product"
    conf.mkdir(parents=True, exist_ok=True)
    product = {
        "defaults": [{"source": "core.table"}, "_self_"],
        "name": "articles",
        "source": {"path": str(folder / "rows.jsonl")},
        "inputs": {"text": {"column": "text", "modality": "text"}},
        "outputs": dict(list(OUTPUTS.items())[:count]),
    }
    (conf / "articles.yaml").write_text(json.dumps(product))
    overrides = ["product=articles", "trainer=finetune", "trainer.epochs=1", "baseline=false"]
    places = [f"output_dir={folder}/runs", f"cache_dir={folder}/cache"]
    (record,) = mh.run([*overrides, *places], config_dir=conf.parent, quiet=True, force=True).records
    return float(record["train_seconds"])


if __name__ == "__main__":
    main()
