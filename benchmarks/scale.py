"""From 1,000 rows up, ten times as many each time: seconds and memory from the source to a trained head."""

import math
import multiprocessing
import random
import tempfile
import threading
import time
from pathlib import Path

from measure import arguments, report

import matrixhub as mh

SMALLEST = 1000
STEEPEST = 1.05
"""Of seconds over rows, both in logarithms."""

WORDS = ("red", "blue", "green", "small", "large", "old", "new", "car", "boat", "house", "tree", "and", "the")


def main() -> None:
    args = arguments(__doc__ or "", rows=100_000, epochs=3)
    sizes = [SMALLEST]
    while sizes[-1] * 10 <= args.rows:
        sizes.append(sizes[-1] * 10)
    rows: list[dict[str, object]] = []
    for size in sizes:
        # A process for each, or one would start with the memory of the one before.
        with multiprocessing.get_context("spawn").Pool(1) as pool:
            seconds, megabytes = pool.apply(measured, (size, args.epochs))
        before = rows[-1] if rows else None
        slope = math.log10(seconds / float(str(before["seconds"]))) if before else math.nan
        rows.append(
            {
                "rows": size,
                "seconds": seconds,
                "rows/s": size / seconds,
                "slope": slope,
                "must be": f"<= {STEEPEST}" if before else "-",
                "peak MB": megabytes,
                "bytes/row": megabytes * 1e6 / size,
            }
        )
    report(f"scale, short texts, hashed words, a linear head, {args.epochs} epochs", rows, args.json)


def measured(size: int, epochs: int) -> tuple[float, float]:
    """Seconds, and megabytes of memory of its own above those of a run on few rows."""
    with tempfile.TemporaryDirectory() as folder:
        run(Path(folder) / "warm-up", SMALLEST // 10, epochs)
        table = write_rows(Path(folder) / "measured", size)
        with Peak() as peak:
            started = time.perf_counter()
            run(table.parent, size, epochs)
            seconds = time.perf_counter() - started
    return seconds, peak.megabytes


def run(folder: Path, size: int, epochs: int) -> None:
    """Train a product on a table of so many rows, everything from nothing."""
    overrides = [
        *(
            "product=text",
            f"product.source.path={write_rows(folder, size)}",
            "encoder/text=fixture.hash_text",
        ),
        *(f"trainer.epochs={epochs}", "trainer.batch_size=256", "trainer.patience=null", "baseline=false"),
        *(f"cache_dir={folder}/cache", f"output_dir={folder}/runs"),
    ]
    done = mh.run(overrides, quiet=True)
    assert not done.failed, done.failed


def write_rows(folder: Path, size: int) -> Path:
    """A csv of that many different short texts with a label each, unless it is there."""
    path = folder / "rows.csv"
    if not path.exists():
        folder.mkdir(parents=True)
        draw = random.Random(0)
        with path.open("w") as file:
            file.write("text,label\n")
            for number in range(size):
                words = draw.choices(WORDS, k=draw.randint(3, 9))
                file.write(f"{' '.join(words)} {number},{words[0]}\n")
    return path


class Peak:
    """The most memory that this process gets meanwhile; files mapped from disk are not its own."""

    def __enter__(self) -> "Peak":
        self._start = self._most = own_megabytes()
        self._stop = threading.Event()
        self._watcher = threading.Thread(target=self._watch, daemon=True)
        self._watcher.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._stop.set()
        self._watcher.join()

    @property
    def megabytes(self) -> float:
        return self._most - self._start

    def _watch(self) -> None:
        while not self._stop.wait(0.01):
            self._most = max(self._most, own_megabytes())


def own_megabytes() -> float:
    lines = Path("/proc/self/status").read_text().splitlines()
    (found,) = (line for line in lines if line.startswith("RssAnon"))
    return int(found.split()[1]) * 1024 / 1e6


if __name__ == "__main__":
    main()
