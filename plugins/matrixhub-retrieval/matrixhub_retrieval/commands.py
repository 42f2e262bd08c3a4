"""``matrixhub index`` and ``matrixhub search``: torch is imported when all that was typed is right."""

import argparse
import json
import sys
import unicodedata
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from matrixhub import ConfigError, DataError, create, list_components

if TYPE_CHECKING:
    import pyarrow as pa

    from matrixhub_retrieval.index import Found, SearchIndex

IMAGE_SUFFIXES = frozenset({".png", ".jpg", ".jpeg", ".webp", ".gif", ".bmp", ".tif", ".tiff"})
"""Of queries that are meant to be files."""

MOST_CHARACTERS = 60
"""Of a column in a table of what was found."""


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise ConfigError(f"{message}. See: {self.prog} --help")


def index(argv: Sequence[str]) -> int:
    """Make rows searchable, or add some to those that are."""
    parser = _Parser(
        prog="matrixhub index",
        description="Make rows searchable by a product trained for retrieval. Where there is an index"
        " already, rows are added to it, and only what is new is encoded.",
    )
    parser.add_argument("artifact", type=Path, metavar="ARTIFACT", help="folder of a trained product")
    parser.add_argument(
        "rows",
        nargs="+",
        metavar="ROWS",
        help="csv, tsv, jsonl or parquet; a folder of images; or a source, such as demo.emoji",
    )
    parser.add_argument(
        "--out", type=Path, metavar="INDEX", help="default: beside ARTIFACT, as ARTIFACT.index"
    )
    parser.add_argument(
        "--input", metavar="NAME", help="the input that rows are found by; default: the second"
    )
    parser.add_argument(
        "--paths",
        nargs="+",
        default=[],
        metavar="COLUMN",
        help="columns that hold file paths, relative to the file's own folder",
    )
    parser.add_argument(
        "--set",
        nargs="+",
        default=[],
        metavar="KEY=VALUE",
        help="options of the source that ROWS are read by, such as format=csv; see: matrixhub show SOURCE",
    )
    args = parser.parse_args(argv)
    options = dict(map(_option, args.set))
    tables = [_read(rows, options, args.paths) for rows in args.rows]
    from matrixhub import load
    from matrixhub_retrieval.folder import beside, is_there, load_index, save_index
    from matrixhub_retrieval.index import SearchIndex

    product, folder = load(args.artifact), args.out or beside(args.artifact)
    found = load_index(folder, product) if is_there(folder) else SearchIndex(product, args.input)
    if args.input not in (None, found.name):
        raise ConfigError(f"{folder} finds rows by '{found.name}': give --input={args.input} another --out.")
    before = len(found)
    num_encoded = sum(_add(found, rows, table) for rows, table in zip(args.rows, tables, strict=True))
    save_index(found, folder)
    added = len(found) - before
    print(f"{added:,} rows added ({num_encoded:,} encoded), {len(found):,} in {folder}", file=sys.stderr)
    return 0


def search(argv: Sequence[str]) -> int:
    """Find rows."""
    parser = _Parser(
        prog="matrixhub search",
        description="Find rows by a text, or by an image where the product reads images.",
    )
    parser.add_argument(
        "index", type=Path, metavar="INDEX", help="as matrixhub index made it, or its ARTIFACT"
    )
    parser.add_argument("query", metavar="QUERY", help="a text, or the path of an image")
    parser.add_argument("-k", type=_positive, default=10, metavar="NUMBER", help="of rows; default: 10")
    parser.add_argument("--by", metavar="NAME", help="the input that QUERY is one of; default: what fits it")
    parser.add_argument("--json", action="store_true", help="one JSON object a row")
    args = parser.parse_args(argv)
    from matrixhub_retrieval.folder import ABOUT, beside, is_there, load_index

    given = is_there(args.index) and (args.index / ABOUT).is_file()
    folder = args.index if given else beside(args.index)
    if not args.query.strip():
        raise ConfigError("QUERY is empty: give a text, or the path of an image.")
    if not is_there(folder):
        raise _no_index(args.index)
    found = load_index(folder)
    by = _input_of(args.query, found.product.inputs, found.name) if args.by is None else args.by
    if by not in found.product.inputs:
        raise ConfigError(f"--by={by}: this product reads {' and '.join(found.product.inputs)}.")
    rows = found.search(args.query, by=by, k=args.k)
    if args.json:
        for one in rows:
            print(
                json.dumps(
                    {"similarity": round(one.similarity, 6), **one.row}, ensure_ascii=False, default=str
                )
            )
    else:
        print("\n".join(_lines(rows)))
    return 0


def _no_index(given: Path) -> DataError:
    """What is wrong with a folder that is no index, and has none beside it."""
    if not given.is_dir():
        return DataError(f"there is no folder {given}.")
    if (given / "manifest.json").is_file():
        from matrixhub import load
        from matrixhub_retrieval.index import require_retrieval

        require_retrieval(load(given))
    return DataError(f"{given} is no index, and has none. Type: matrixhub index {given} ROWS")


def _positive(text: str) -> int:
    if not text.isascii() or not text.isdigit() or not int(text):
        raise argparse.ArgumentTypeError(f"{text} is no number of rows")
    return int(text)


def _option(text: str) -> tuple[str, Any]:
    key, is_there, value = text.partition("=")
    if not is_there:
        raise ConfigError(f"--set {text}: write KEY=VALUE.")
    try:
        return key, json.loads(value)
    except json.JSONDecodeError:
        return key, value


def _read(rows: str, options: dict[str, Any], paths: Sequence[str]) -> "pa.Table":
    """The rows of a file, of a folder of images, or of a source."""
    if Path(rows).is_dir():
        source = create("source", "core.images", **{"path": rows, "labelled": False, **options})
    elif not Path(rows).exists() and rows in {one.name for one in list_components("source")}:
        source = create("source", rows, **options)
    else:
        source = create("source", "core.table", **{"path": rows, "paths": list(paths), **options})
    table: pa.Table = source.read()
    return table


def _add(found: "SearchIndex", rows: str, table: "pa.Table") -> int:
    """Add what was read from ``rows``, by which it is called when it cannot be: there may be several."""
    one = found.product.inputs[found.name]
    if Path(rows).is_dir() and one["modality"] == "image" and not found.product.transform.transforms:
        # A folder has no names of columns: its images are what the index reads.
        table = table.rename_columns([one["column"]])
    try:
        return found.add(table)
    except DataError as error:
        raise DataError(f"{rows}: {error}") from error


def _input_of(query: str, inputs: dict[str, Any], found_by: str) -> str:
    """The input that a query is one of: one of texts, unless it is the path of a file.

    Raises:
        DataError: it is no file, and the product reads no texts; or looks like one where it cannot be.
    """
    names = sorted(inputs, key=lambda name: name == found_by)
    is_file, is_named_so = Path(query).is_file(), Path(query).suffix.lower() in IMAGE_SUFFIXES
    texts = [name for name in names if inputs[name]["modality"] == "text"]
    others = [name for name in names if name not in texts]
    if is_file and others:
        return others[0]
    if not texts:
        raise DataError(
            f"there is no file {query}, and this product reads {inputs[names[0]]['modality']} alone."
        )
    if is_file or (is_named_so and others):
        wrong = "this product reads text alone" if is_file else f"there is no file {query}"
        raise DataError(f"{wrong}. If the words '{query}' are meant, say so: --by {texts[0]}")
    return texts[0]


def _lines(rows: "Sequence[Found]") -> list[str]:
    """Columns of what was found, by their widths."""
    if not rows:
        return ["nothing: the index is empty"]
    names = list(rows[0].row)
    cells = [["", *names]] + [[f"{one.similarity:.3f}", *(_short(one.row[n]) for n in names)] for one in rows]
    widths = [max(_wide(line[i]) for line in cells) for i in range(len(cells[0]))]
    return ["  ".join(map(_padded, line, widths)).rstrip() for line in cells]


def _padded(cell: str, width: int) -> str:
    return cell + " " * (width - _wide(cell))


def _wide(text: str) -> int:
    """Places that a text takes on a terminal, where a Chinese character has two."""
    return sum(2 if unicodedata.east_asian_width(one) in "WF" else 1 for one in text)


def _short(value: Any) -> str:
    text = "" if value is None else " ".join(str(value).split())
    return text if len(text) <= MOST_CHARACTERS else f"{text[: MOST_CHARACTERS - 1]}…"
