"""Six cells that train the last layers of one encoder: one matrix, beside the same six in a plain loop.

The plain loop recomputes the frozen layers in each epoch, as every trainer does, on equal batches.

    python benchmarks/partial.py                                   # the last block of Lite0's 16, on photos
    python benchmarks/partial.py --text 1 --rows 2000 --epochs 5   # the last layer of MiniLM's 6, on reviews

A step costs about three times the forward pass of what trains, so the ratio can hardly be more than
(frozen + 3 x trained) / (3 x trained) layers: below 2.7 for one layer of six.
"""

import tempfile
import time
from collections.abc import Iterator
from contextlib import nullcontext
from typing import Any

import numpy as np
import torch
from measure import arguments, report
from torch import nn

import matrixhub as mh
from matrixhub.data.batching import epoch_batches
from matrixhub.data.splits import make_splits
from matrixhub.run.model import Readout, build
from matrixhub.run.optimize import make_optimizer, make_schedule
from matrixhub.types import Target

SETTINGS: dict[str, dict[str, Any]] = {
    "text": {"product": "reviews", "column": "text", "layers": 1},
    "image": {"product": "textile", "column": "image", "layers": 1},
}
RATES, SEEDS = (1e-3, 3e-3, 1e-2), (0, 1)
CONSTANT = {
    "batch_size": 32, "encoder_lr": 1e-4, "weight_decay": 0.01,
    "schedule": "linear", "warmup": 0.1, "clip": 1.0,
}  # fmt: skip


def main() -> None:
    args = arguments(__doc__ or "", rows=400, epochs=5, text=0)
    modality = "text" if args.text else "image"
    setting = SETTINGS[modality]
    fixed = [
        f"product={setting['product']}", f"product.source.limit={args.rows}", "trainer=partial",
        f"trainer.trainable_layers={setting['layers']}", "trainer.patience=null",
        f"trainer.epochs={args.epochs}",
        *(f"trainer.{key}={value}" for key, value in CONSTANT.items()), "baseline=false",
    ]  # fmt: skip
    swept = [f"trainer.lr={','.join(map(str, RATES))}", f"trainer.seed={','.join(map(str, SEEDS))}"]
    with tempfile.TemporaryDirectory() as folder:
        places = [f"cache_dir={folder}/cache", f"output_dir={folder}/runs"]
        plan = mh.plan([*fixed, *swept, *places], multirun=True)
        cell = next(iter(plan.cells.values()))
        build("encoder", cell.encoder[modality])  # so that all that it imports is imported
        started = time.perf_counter()
        run = mh.run([*fixed, *swept, *places], multirun=True)
        ours = time.perf_counter() - started
    assert len(run.records) == 6 and not run.failed
    cells = {numbers(cell): cell for cell in plan.cells.values()}
    losses = {numbers(plan.cells[record["cell"]]): record["epochs"] for record in run.records}
    started = time.perf_counter()
    plain = {key: list(by_hand(cells[key], modality, setting)) for key in cells}
    theirs = time.perf_counter() - started
    apart = max(
        abs(ours_one["train_loss"] - loss)
        for key, theirs_one in plain.items()
        for ours_one, loss in zip(losses[key], theirs_one, strict=True)
    )
    encode = {key: one["seconds"] for record in run.records for key, one in record["encode"].items()}
    train = sum(record["train_seconds"] for record in run.records)
    rows: list[dict[str, object]] = [
        {"way": "matrixhub, 6 cells", "seconds": ours, "ratio": theirs / ours, "losses apart": apart},
        {"way": "of which encoding", "seconds": sum(encode.values()), "ratio": "", "losses apart": ""},
        {"way": "of which training", "seconds": train, "ratio": "", "losses apart": ""},
        {"way": "plain loop, 6 times", "seconds": theirs, "ratio": 1.0, "losses apart": 0.0},
    ]
    name = next(iter(cell.encoder.values()))["name"]
    title = f"partial, {args.rows:,} rows, {args.epochs} epochs, last {setting['layers']} layers of {name}"
    report(title, rows, args.json)


def numbers(cell: Any) -> tuple[float, int]:
    return cell.trainer["lr"], cell.trainer["seed"]


def created(kind: str, options: dict[str, Any]) -> Any:
    return mh.create(kind, options["name"], **{k: v for k, v in options.items() if k != "name"})


def by_hand(cell: Any, modality: str, setting: dict[str, Any]) -> Iterator[float]:
    """The mean training loss of each epoch; validation each epoch, as ours, and the test rows at the end."""
    trainer, (output,) = cell.trainer, cell.product["outputs"].items()
    table, column = created("source", cell.source).read(), setting["column"]
    options = cell.product["split"]
    splits = make_splits(
        table, inputs=[column], target=output[1]["target"], fractions=tuple(options["fractions"]),
        **{k: v for k, v in options.items() if k != "fractions"},
    )  # fmt: skip
    values, labels = table[column].to_pylist(), table[output[1]["target"]].to_pylist()
    classes = tuple(sorted({labels[i] for i in splits.train}))
    targets = torch.tensor([classes.index(label) for label in labels])
    encoder = created("encoder", cell.encoder[modality]).requires_grad_(False)
    prefix, suffix = encoder.split(trainer["trainable_layers"])
    suffix.requires_grad_(True)
    torch.manual_seed(trainer["seed"])
    np.random.seed(trainer["seed"])
    readout = Readout(
        dims={column: encoder.dim}, fusion=None, head=cell.head,
        targets={output[0]: Target("classification", classes)},
    )  # fmt: skip
    model = nn.ModuleDict({"encoders": suffix, "readout": readout})
    optimizer = make_optimizer(model, trainer)
    num_steps = -(-len(splits.train) // trainer["batch_size"])
    schedule = make_schedule(optimizer, trainer, num_steps * trainer["epochs"])
    # Prepared once, as a careful expert would.
    items = encoder.processor.prepare(values)
    lengths = np.asarray([encoder.processor.size(items[i]) for i in splits.train])

    def forward(rows: Any, *, training: bool = True) -> torch.Tensor:
        model.train(training)
        with torch.no_grad():
            hidden = prefix(encoder.processor.collate([items[i] for i in rows]))
        with nullcontext() if training else torch.no_grad():
            logits = readout({column: suffix(hidden)})[0][output[0]]
            loss: torch.Tensor = readout.head(output[0]).loss(logits, targets[torch.from_numpy(rows)])
            return loss

    def score(part: Any) -> None:
        for start in range(0, len(part), trainer["batch_size"]):
            forward(part[start : start + trainer["batch_size"]], training=False)

    for epoch in range(trainer["epochs"]):
        batches = epoch_batches(
            len(splits.train), batch_size=trainer["batch_size"], seed=trainer["seed"], epoch=epoch,
            lengths=lengths if len(np.unique(lengths)) > 1 else None,
        )  # fmt: skip
        losses = []
        for batch in batches:
            loss = forward(splits.train[batch])
            loss.backward()
            nn.utils.clip_grad_norm_(model.parameters(), trainer["clip"])
            optimizer.step()
            schedule.step()
            optimizer.zero_grad()
            losses.append(loss.item())
        score(splits.validation)
        yield float(np.mean(losses))
    score(splits.test)


if __name__ == "__main__":
    main()
