"""``matrixhub evaluate``: score a trained product on the rows of a file."""

import json
from collections.abc import Sequence

from matrixhub.cli.main import Parser
from matrixhub.cli.predict import add_file_args, look_ahead, open_rows


def main(argv: Sequence[str]) -> int:
    """Print the metrics, as a table or as JSON."""
    parser = Parser(
        prog="matrixhub evaluate", description="Score a trained product on the rows of a labelled file."
    )
    add_file_args(parser)
    parser.add_argument("--json", action="store_true", help="as JSON")
    args = parser.parse_args(argv)
    source = open_rows(args.file, args.paths, labelled=True)
    look_ahead(args.artifact, source)
    from matrixhub.run.records import strict
    from matrixhub.run.saved import load_product
    from matrixhub.run.score import score_product

    scores = score_product(load_product(args.artifact), source)
    if args.json:
        found = {"metrics": strict(scores.metrics), "num_rows": scores.num_rows}
        print(json.dumps(found, indent=1, allow_nan=False))
        return 0
    print(f"{scores.num_rows:,} rows")
    for output, metrics in scores.metrics.items():
        for name, value in metrics.items():
            print(f"  {output}.{name:<20} {value:.4f}")
    return 0
