"""``matrixhub cache``: what the feature store holds, and how to make room."""

import argparse
import json
import re
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from matrixhub.cli.main import Parser
from matrixhub.data.cache import ShelfSummary, default_cache_dir, prune, shelves

HEADER = ("encoder", "options", "level", "rows", "size", "last use")
NUMBERS = ("rows", "size")
DAY = 86_400
UNITS = {"kB": 1e3, "MB": 1e6, "GB": 1e9, "TB": 1e12}


def main(argv: Sequence[str]) -> int:
    """Print what is stored, or remove some of it."""
    parser = Parser(prog="matrixhub cache", description="What the feature store holds, and how to make room.")
    commands = parser.add_subparsers(dest="command", metavar="info | prune", required=True)
    info = commands.add_parser("info", help="rows, size and last use, by encoder")
    info.add_argument("--json", action="store_true", help="as JSON")
    less = commands.add_parser("prune", help="remove features; they are computed again when they are needed")
    what = less.add_mutually_exclusive_group(required=True)
    what.add_argument("--older-than", type=_days, metavar="DAYS", help="not used since that many days")
    what.add_argument(
        "--max-size", type=_bytes, metavar="SIZE", help="used longest ago, down to 10GB or such"
    )
    what.add_argument("--all", action="store_true", help="everything")
    for command in (info, less):
        command.add_argument(
            "--cache-dir", type=Path, default=default_cache_dir(), help="default: %(default)s"
        )
    args = parser.parse_args(argv)
    return _info(args) if args.command == "info" else _prune(args)


def _info(args: argparse.Namespace) -> int:
    found = shelves(args.cache_dir)[::-1]
    if args.json:
        print(json.dumps([_plain(one) for one in found], indent=1, ensure_ascii=False))
        return 0
    rows = [HEADER, *map(_line, found)] if found else []
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        placed = zip(row, widths, HEADER, strict=True)
        cells = [f"{cell:{'>' if name in NUMBERS else '<'}{width}}" for cell, width, name in placed]
        print("  ".join(cells).rstrip())
    total = sum(one.num_bytes for one in found)
    print(f"{size_text(total)} in {args.cache_dir}")
    return 0


def _prune(args: argparse.Namespace) -> int:
    before = None if args.older_than is None else time.time() - args.older_than * DAY
    max_bytes = -1.0 if args.all else args.max_size
    removed = prune(args.cache_dir, used_before=before, max_bytes=max_bytes)
    for one in removed:
        print(f"removed  {'  '.join(_line(one))}")
    total = sum(one.num_bytes for one in removed)
    print(f"{size_text(total)} removed from {args.cache_dir}")
    return 0


def size_text(num_bytes: float) -> str:
    """Bytes in the largest unit that leaves a number above one."""
    unit = next((unit for unit in reversed(UNITS) if num_bytes >= UNITS[unit]), "kB")
    return f"{num_bytes / UNITS[unit]:.1f} {unit}"


def _line(one: ShelfSummary) -> tuple[str, ...]:
    encoder: Mapping[str, Any] = one.about.get("encoder", {})
    options = ", ".join(f"{k}={v}" for k, v in encoder.items() if k != "name" and v is not None)
    return (
        str(encoder.get("name", "?")),
        options if len(options) <= 60 else f"{options[:59]}…",
        str(one.about.get("level", "?")),
        f"{one.num_rows:,}",
        size_text(one.num_bytes),
        time.strftime("%Y-%m-%d %H:%M", time.localtime(one.last_used)),
    )


def _plain(one: ShelfSummary) -> dict[str, Any]:
    return {
        "folder": str(one.folder), **one.about,
        "rows": one.num_rows, "bytes": one.num_bytes, "last_used": one.last_used,
    }  # fmt: skip


def _days(text: str) -> float:
    if not re.fullmatch(r"\d+(\.\d+)?", text):
        raise argparse.ArgumentTypeError(f"'{text}' is no number of days, such as 30")
    return float(text)


def _bytes(text: str) -> float:
    found = re.fullmatch(r"(\d+(?:\.\d+)?) ?(kB|MB|GB|TB)", text)
    if not found:
        raise argparse.ArgumentTypeError(f"'{text}' is no size, such as 500MB or 10GB")
    return float(found[1]) * UNITS[found[2]]
