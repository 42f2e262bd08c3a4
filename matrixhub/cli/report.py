"""``matrixhub report``: the report of a run, or several runs compared."""

from collections.abc import Sequence
from pathlib import Path

from matrixhub.cli.main import Parser


def main(argv: Sequence[str]) -> int:
    """Print; write into the folder of the one run, or where it is told to."""
    parser = Parser(
        prog="matrixhub report",
        description="Write the report of a run, finished or broken, into its folder: report.html, report.md,"
        " records.parquet. Of several runs, compare the same cells, the last run against the first.",
    )
    parser.add_argument("runs", nargs="+", type=Path, metavar="RUN", help="folder of a run")
    parser.add_argument(
        "-o",
        "--output",
        type=Path,
        metavar="OUT",
        help="write this file only; its name says what: html, md, json, or parquet (of one run)",
    )
    parser.add_argument("--json", action="store_true", help="print as JSON, write nothing")
    args = parser.parse_args(argv)
    from matrixhub.report.load import load_run
    from matrixhub.report.table import nearby, print_comparison, print_report
    from matrixhub.report.write import as_json, write_as, write_report

    runs = [load_run(folder) for folder in args.runs]
    if args.json:
        print(as_json(runs))
    elif args.output:
        write_as(runs, args.output)
        print(f"Report: {nearby(args.output.absolute())}")
    elif len(runs) > 1:
        print_comparison(runs)
    else:
        path = write_report(runs[0].folder)
        print_report(runs[0])
        print(f"Report: {nearby(path)}")
    return 0
