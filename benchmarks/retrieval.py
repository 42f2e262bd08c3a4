"""Drawings found by their names and names by drawings, both encoders frozen, beside chance.

First: npm install emoji-datasource-google@16.0.0 emojibase-data@17.0.0
"""

import argparse
import tempfile
from pathlib import Path

from measure import report

import matrixhub as mh

FIGURES = ("recall_at_1", "recall_at_5", "recall_at_10", "mrr", "ndcg_at_10")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--path", default="node_modules", help="folder of the two packages")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        (record,) = mh.run(
            ["product=emoji", f"product.source.path={args.path}", f"output_dir={folder}"], quiet=True
        ).records
    found, chance = record["metrics"]["match"], record["baselines"]["match"]["chance"]
    ways = {"name to drawing": "", "drawing to name": "back_"}
    rows: list[dict[str, object]] = [
        {"finds": way, **{name: scores[f"{prefix}{name}"] for name in FIGURES}}
        for title, scores in (("", found), (" (chance)", chance))
        for way, prefix in ((f"{way}{title}", prefix) for way, prefix in ways.items())
    ]
    report(
        f"retrieval, {record['num_rows']['test']} unseen drawings, MiniLM and Lite0 frozen", rows, args.json
    )


if __name__ == "__main__":
    main()
