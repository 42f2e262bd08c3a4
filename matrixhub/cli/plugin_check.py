"""``matrixhub plugin check``: the conformance checks, for installed plugins or one in a folder."""

import contextlib
import json
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

from matrixhub.cli.main import Parser
from matrixhub.plugins import hub
from matrixhub.testing import Outcome, Result, Suite
from matrixhub.testing.folder import as_installed

COLUMNS = ("passed", "failed", "expected", "stale", "skipped", "seconds")
"""Of the table: one for each outcome, in their order, and the time."""

COLOURS = {
    Outcome.PASSED: "green", Outcome.FAILED: "red", Outcome.EXPECTED: "yellow",
    Outcome.STALE: "red", Outcome.SKIPPED: "dim",
}  # fmt: skip


def main(argv: Sequence[str]) -> int:
    """Run the checks and print how they went.

    Returns:
        1 when a check failed that was not expected to, or passed that was.
    """
    parser = Parser(
        prog="matrixhub plugin check", description="Whether plugins keep what components promise."
    )
    parser.add_argument(
        "name", nargs="?", metavar="NAME|PATH", help="namespace, or folder of a pyproject.toml; default: all"
    )
    parser.add_argument("--json", action="store_true", help="every result, as JSON")
    parser.add_argument("--slow", action="store_true", help="also those that take many seconds")
    parser.add_argument(
        "--all", action="store_true", help="also print what passed and was skipped, one by one"
    )
    args = parser.parse_args(argv)
    results = list(_results(args.name, slow=args.slow))
    if args.json:
        print(json.dumps([result.to_dict() for result in results], indent=1))
    else:
        _print(results, everything=args.all)
    return 1 if any(result.is_bad for result in results) else 0


def _results(name: str | None, *, slow: bool) -> Iterator[Result]:
    from rich.console import Console

    is_folder = name is not None and (Path(name) / "pyproject.toml").is_file()
    with (
        as_installed(Path(name)) if name and is_folder else contextlib.nullcontext([name]) as namespaces,
        Console(stderr=True).status("") as status,  # on a terminal only
    ):
        for namespace in namespaces if name else [plugin.namespace for plugin in hub().plugins]:
            for case in Suite(str(namespace)).cases(slow=slow):
                status.update(case.label)
                yield case.run()


def _print(results: Sequence[Result], *, everything: bool) -> None:
    """A line for each subject, and below it what went otherwise than it should."""
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table("subject", box=None, pad_edge=False)
    for name in COLUMNS:
        table.add_column(name, justify="right")
    for subject in dict.fromkeys(result.subject for result in results):
        own = [result for result in results if result.subject == subject]
        counts = Counter(result.outcome for result in own)
        cells = [Text(str(counts[outcome] or "."), COLOURS[outcome]) for outcome in Outcome]
        seconds = Text(f"{sum(result.seconds for result in own):.1f}")
        table.add_row(Text(subject), *cells, seconds)
    console = Console(soft_wrap=True)
    console.print(table)
    quiet = () if everything else (Outcome.PASSED, Outcome.SKIPPED)
    for result in results:
        if result.outcome not in quiet:
            console.print()
            console.print(Text(f"{result.subject}: {result.check} {result.outcome}", COLOURS[result.outcome]))
            console.print(Text(result.text) if result.text else "")
