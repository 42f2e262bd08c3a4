"""Head trials on cached features beside one trial: stacked, one by one, and scikit-learn fits."""

import itertools
import tempfile
import time

from measure import arguments, in_turn, ratio, report

import matrixhub as mh

PRODUCT = ("product=reviews", "baseline=false", "trainer.epochs=30", "trainer.patience=null")
RATES = [f"{1e-4 * 1.5**k:.3g}" for k in range(16)]
DECAYS = ["0", "0.01", "0.1", "1"]


def main() -> None:
    args = arguments(__doc__ or "", rows=2000, rounds=3)
    with tempfile.TemporaryDirectory() as folder:
        where = (
            f"cache_dir={folder}/cache",
            f"output_dir={folder}/runs",
            f"product.source.limit={args.rows}",
        )
        trials = [
            (f"trainer.lr={lr}", f"trainer.weight_decay={wd}") for lr, wd in itertools.product(RATES, DECAYS)
        ]
        seconds_of: dict[str, list[float]] = {"one": [], "stacked": [], "one by one": []}

        def train(name: str, *overrides: str, multirun: bool = False) -> None:
            run = mh.run([*PRODUCT, *where, *overrides], multirun=multirun, quiet=True, force=True)
            assert not run.failed
            seconds_of[name].append(sum(record["train_seconds"] for record in run.records))

        sweep = (f"trainer.lr={','.join(RATES)}", f"trainer.weight_decay={','.join(DECAYS)}")
        sides = {
            "one": lambda: train("one", *trials[20]),
            "stacked": lambda: train("stacked", *sweep, multirun=True),
        }
        whole = in_turn(sides, rounds=args.rounds)
        started = time.perf_counter()
        for trial in trials[:8]:
            train("one by one", *trial)
        alone = (time.perf_counter() - started) / 8 * len(trials)
    middle = {name: sorted(times)[len(times) // 2] for name, times in seconds_of.items()}
    rows: list[dict[str, object]] = [
        {"way": "one trial", "training s": middle["one"], "ratio": 1.0},
        {
            "way": f"{len(trials)} trials, stacked",
            "training s": middle["stacked"],
            "ratio": middle["stacked"] / middle["one"],
        },
        {
            "way": f"{len(trials)} trials, one run each (8 timed)",
            "training s": alone,
            "ratio": alone / middle["one"],
        },
    ]
    report(f"heads, {args.rows:,} rows of cached features, 30 epochs", rows, args.json)
    print(f"whole runs, artifacts included: {ratio(whole, 'stacked', 'one'):.1f} times one trial's")


if __name__ == "__main__":
    main()
