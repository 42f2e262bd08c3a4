"""``matrixhub predict``: answer the rows of a file with a trained product."""

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from matrixhub.cli.main import Parser

if TYPE_CHECKING:
    from matrixhub.protocols import Source

BATCH_ROWS = 1024


def main(argv: Sequence[str]) -> int:
    """Read rows in batches, write them with the answers beside them."""
    parser = Parser(
        prog="matrixhub predict",
        description="Answer the rows of a csv, tsv, jsonl or parquet file. The answers are columns of their"
        " own: predicted_OUTPUT, its score, and whether the row was cut to fit.",
    )
    add_file_args(parser)
    parser.add_argument(
        "-o",
        "--output",
        type=Path,
        metavar="OUT",
        help="csv, tsv, jsonl or parquet; default: jsonl to stdout",
    )
    args = parser.parse_args(argv)
    source = open_rows(args.file, args.paths, labelled=False)
    look_ahead(args.artifact, source)
    from matrixhub.data.writers import open_writer
    from matrixhub.run.product import answer_columns, stream_answers
    from matrixhub.run.saved import load_product

    product = load_product(args.artifact)
    count = 0
    target = (args.output, None) if args.output else (sys.stdout.buffer, "jsonl")
    with open_writer(*target) as writer:
        for table, answers in stream_answers(product, source.batches(BATCH_ROWS)):
            columns = [answer_columns(answer, list(product.outputs)) for answer in answers]
            writer.write([row | extra for row, extra in zip(table.to_pylist(), columns, strict=True)])
            count += table.num_rows
    if args.output:
        print(f"{count:,} rows answered in {args.output}", file=sys.stderr)
    return 0


def add_file_args(parser: Parser) -> None:
    """The artifact and the file it is used on."""
    parser.add_argument("artifact", type=Path, metavar="ARTIFACT", help="folder of a trained product")
    parser.add_argument(
        "file",
        metavar="FILE",
        help="csv, tsv, jsonl or parquet with the product's columns; or a folder of images",
    )
    parser.add_argument(
        "--paths", nargs="+", default=[], metavar="COLUMN",
        help="columns that hold file paths, relative to the file's own folder",
    )  # fmt: skip


def look_ahead(artifact: Path, source: "Source") -> None:
    """Refuse a file without rows, or without the product's columns, before torch and a model are loaded.

    Raises:
        ArtifactError: the artifact's manifest cannot be read.
        DataError: says what is wrong with the file.
    """
    from matrixhub.artifacts.manifest import peek_manifest
    from matrixhub.data.columns import require_inputs_of

    manifest, first = peek_manifest(artifact), next(iter(source.batches(1)), None)
    if first is not None and not manifest.get("transform"):  # which may add columns
        require_inputs_of(first, manifest["product"]["inputs"])


def open_rows(path: str, paths: Sequence[str], *, labelled: bool) -> "Source":
    """The rows of a table, or the images of a folder (by class, where they are labelled)."""
    from matrixhub.data.images import ImageFolderSource
    from matrixhub.data.tables import TableSource

    if Path(path).is_dir():
        return ImageFolderSource(path=path, labelled=labelled)
    return TableSource(path=path, paths=list(paths))
