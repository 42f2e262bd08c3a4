"""Three outputs on one encoder that trains, beside one of them: what the other two cost."""

import json
import statistics
import tempfile
from pathlib import Path

from measure import arguments, report

import matrixhub as mh

OUTPUTS = {
    "topic": {"task": "classification", "target": "label"},
    "length": {"task": "regression", "target": "words"},
    "kind": {"task": "classification", "target": "kind"},
}


def main() -> None:
    args = arguments(__doc__ or "", rows=500, rounds=2)
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
