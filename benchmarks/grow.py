"""A source grows by a tenth and its matrix runs again: two products x two heads, beside the first run."""

import tempfile
import time
from pathlib import Path

from measure import arguments, report

import matrixhub as mh
from matrixhub.data.cache import shelves

MOST = 0.15
"""Of the first run's time."""


def main() -> None:
    args = arguments(__doc__ or "", rows=2000)
    with tempfile.TemporaryDirectory() as folder:
        run(Path(folder) / "warm-up", 100)
        sizes = {"first run": args.rows, "grown by a tenth": args.rows + args.rows // 10}
        cache = Path(folder) / "grown"
        seconds, encoded, scores = {}, {}, {}
        for name, limit in sizes.items():
            before = stored(cache)
            seconds[name], scores[name] = run(cache, limit)
            encoded[name] = stored(cache) - before
    rows: list[dict[str, object]] = [
        {
            "run": name,
            "rows": 2 * limit,
            "rows encoded": encoded[name],
            "seconds": seconds[name],
            "to the first": seconds[name] / seconds["first run"],
            "must be": "-" if name == "first run" else f"<= {MOST}",
            "accuracy": scores[name],
        }
        for name, limit in sizes.items()
    ]
    report("grow, news and reviews x linear and mlp", rows, args.json)


def run(folder: Path, limit: int) -> tuple[float, str]:
    """Seconds of a matrix on so many rows of each product, and its scores."""
    overrides = [
        *("product=news,reviews", "head=linear,mlp", f"product.source.limit={limit}"),
        *(f"cache_dir={folder}", f"output_dir={folder}/runs"),
    ]
    started = time.perf_counter()
    done = mh.run(overrides, multirun=True, quiet=True)
    seconds = time.perf_counter() - started
    assert len(done.records) == 4 and not done.failed, done.failed
    found = [next(iter(record["metrics"].values()))["accuracy"] for record in done.records]
    return seconds, " ".join(f"{score:.3f}" for score in found)


def stored(cache: Path) -> int:
    """Rows in the feature store."""
    return sum(shelf.num_rows for shelf in shelves(cache))


if __name__ == "__main__":
    main()
