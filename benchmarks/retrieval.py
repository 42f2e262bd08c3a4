"""Rows found by rows: drawings by names, English and Chinese, articles by headlines, drawings by drawings.

First: npm install emoji-datasource-google@16.0.0 emojibase-data@17.0.0 emoji-datasource-twitter@16.0.0
The last of them is for drawings by drawings, which are left out without it.

Chinese names take a folder of benchmarks/e5_checkpoint.py, named by --e5, and are left out without it.
"""

import argparse
import json
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from measure import report

import matrixhub as mh

FIGURES = ("recall_at_1", "recall_at_5", "recall_at_10", "mrr", "ndcg_at_10")
PROJECTED = ("fusion=towers", "trainer=contrastive")
RESIDUAL = ("fusion=residual_towers", "trainer=contrastive")
AS_IT_COMES = ("fusion=concat", "trainer=contrastive", "trainer.epochs=1")
"""Nothing but the temperature is trained, which moves no figure."""
TRAINED = ("fusion=concat", "trainer.batch_size=64", "trainer.epochs=1")
IMAGES = (
    "product.source.paths=[query,document]", "encoder/image=lite0_128",
    "product.inputs.query.modality=image", "product.inputs.document.modality=image",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Setting:
    """One product and how it is trained.

    Attributes:
        encoders: which, and what of them is trained.
        overrides: of the run.
        ways: what finds what, by what its figures are called before their own names.
    """

    encoders: str
    overrides: tuple[str, ...]
    ways: dict[str, str]


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--json", type=Path)
    parser.add_argument("--path", type=Path, default=Path("node_modules"), help="folder of the packages")
    parser.add_argument("--e5", type=Path, help="folder of a multilingual E5")
    parser.add_argument("--articles", type=int, help="how many at most")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        lines = [row for setting in settings(args, Path(folder)) for row in found(setting, folder)]
    once = {(row["finds"], row["by"]): row for row in lines}  # baselines come with every setting
    report("retrieval, test rows that were never seen", list(once.values()), args.json)


def settings(args: argparse.Namespace, folder: Path) -> Iterator[Setting]:
    """All of them that the packages which are there allow."""
    yield from names(args.path.resolve(), args.e5 and args.e5.resolve())
    yield from headlines(args.articles, folder)
    if (args.path / "emoji-datasource-twitter").is_dir():
        yield from drawings(args.path.resolve(), folder)


def names(path: Path, e5: Path | None) -> Iterator[Setting]:
    """Drawings of emoji by what they are called."""
    emoji: tuple[str, ...] = ("product=emoji", f"product.source.path={path}")
    yield Setting("MiniLM, Lite0 frozen", emoji, {"drawings by names": "", "names by drawings": "back_"})
    if e5:
        emoji += ("encoder/text=multilingual_e5_small", f"encoder.text.checkpoint={e5}")
        yield Setting("E5, Lite0 frozen", emoji, {"drawings by names": ""})
        chinese = (*emoji, "product.inputs.label.column=label_zh")
        yield Setting("E5, Lite0 frozen", chinese, {"drawings by Chinese names": "", "and back": "back_"})


def headlines(limit: int | None, folder: Path) -> Iterator[Setting]:
    """What stands below a headline by the headline."""
    articles = mh.create("source", "demo.news", limit=limit).read()["text"].to_pylist()
    pairs = [(first.strip(), rest.strip()) for first, _, rest in (text.partition("\n") for text in articles)]
    source = (*table(folder / "news.jsonl", pairs), "encoder.text.max_length=64")
    way = {"articles by headlines": ""}
    yield Setting("MiniLM as it comes", (*source, *AS_IT_COMES), way)
    yield Setting("MiniLM frozen, projections", (*source, *PROJECTED), way)
    yield Setting("MiniLM frozen, residual ones", (*source, *RESIDUAL), way)
    yield Setting("MiniLM, LoRA", (*source, "trainer=lora", *TRAINED), way)
    yield Setting("MiniLM, all of it", (*source, "trainer=finetune", *TRAINED), way)


def drawings(path: Path, folder: Path) -> Iterator[Setting]:
    """Drawings of one vendor by those of another."""
    listed = json.loads((path / "emoji-datasource-google" / "emoji.json").read_text("utf-8"))
    by_vendor = [path / f"emoji-datasource-{name}" / "img" / name / "64" for name in ("google", "twitter")]
    pairs = [tuple(str(vendor / one["image"]) for vendor in by_vendor) for one in listed]
    source = (*table(folder / "drawings.jsonl", [pair for pair in pairs if are_there(pair)]), *IMAGES)
    way = {"Twitter's drawings by Google's": ""}
    yield Setting("Lite0 as it comes", (*source, *AS_IT_COMES), way)
    yield Setting("Lite0 frozen, projections", (*source, *PROJECTED), way)
    yield Setting("Lite0 frozen, residual ones", (*source, *RESIDUAL), way)


def are_there(files: tuple[str, ...]) -> bool:
    """Not every vendor draws everything."""
    return all(Path(file).is_file() for file in files)


def table(path: Path, pairs: Sequence[tuple[str, ...]]) -> tuple[str, ...]:
    """Overrides of a product over these pairs, which are written to a file."""
    rows = [{"query": query, "document": document} for query, document in pairs]
    path.write_text("\n".join(map(json.dumps, rows)), "utf-8")
    return "product=search", f"product.source.path={path}"


def found(setting: Setting, folder: str) -> Iterator[dict[str, object]]:
    """A line for each way, and one for each baseline: chance, and words or pixels where both have them."""
    (record,) = mh.run([*setting.overrides, f"output_dir={folder}/runs"], quiet=True).records
    if record["status"] != "done":
        raise SystemExit(f"{setting.encoders}: {record['error']}")
    for way, before in setting.ways.items():
        scores, plain = record["metrics"]["match"], record["baselines"]["match"]
        for name, figures in {setting.encoders: scores, **plain}.items():
            yield line(way, name, figures, before, record)


def line(way: str, name: str, figures: dict[str, float], before: str, record: Any) -> dict[str, object]:
    """One of the table."""
    return {
        "finds": way,
        "by": name,
        **{figure: figures[f"{before}{figure}"] for figure in FIGURES},
        "test rows": record["num_rows"]["test"],
        "seconds": float(record["train_seconds"]) if name not in record["baselines"]["match"] else "-",
    }


if __name__ == "__main__":
    main()
