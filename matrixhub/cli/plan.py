"""``matrixhub plan``: what run would do."""

import json
from collections.abc import Sequence

from matrixhub.cli.compose_args import add_compose_args
from matrixhub.cli.main import Parser


def main(argv: Sequence[str]) -> int:
    """Print the plan."""
    parser = Parser(prog="matrixhub plan", description="Show what run would do, without doing it.")
    add_compose_args(parser)
    parser.add_argument("--json", action="store_true", help="as JSON")
    args = parser.parse_intermixed_args(argv)
    from matrixhub import api
    from matrixhub.plan.text import plan_text

    plan = api.plan(args.overrides, multirun=args.multirun, config_dir=args.config_dir, force=args.force)
    print(json.dumps(plan.to_dict(), indent=1, ensure_ascii=False) if args.json else plan_text(plan))
    return 0
