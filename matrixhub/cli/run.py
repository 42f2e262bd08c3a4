"""``matrixhub run``: train, evaluate and save what the config names."""

import os
import sys
from collections.abc import Sequence

from matrixhub.cli.compose_args import add_compose_args
from matrixhub.cli.main import Parser


def main(argv: Sequence[str]) -> int:
    """Run; the leaderboard goes to stdout, progress to stderr."""
    parser = Parser(prog="matrixhub run", description="Train, evaluate and save what the config names.")
    add_compose_args(parser)
    args = parser.parse_intermixed_args(argv)
    from matrixhub import api
    from matrixhub.report.table import print_run
    from matrixhub.run.records import ERRORS

    run = api.run(args.overrides, multirun=args.multirun, config_dir=args.config_dir, force=args.force)
    if os.environ.get("RANK", "0") != "0":
        return 0
    print_run(run)
    for record in run.failed:
        print(f"matrixhub: {record['name']} failed: {record['error']}", file=sys.stderr)
    if run.failed and (log := run.folder / ERRORS).exists():
        print(f"matrixhub: where in the code, for whoever mends it: {log}", file=sys.stderr)
    if not run.failed:
        return 0
    return int(run.failed[0]["exit_code"]) if len(run.records) == 1 else 1
