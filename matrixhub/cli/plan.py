"""``matrixhub plan``: what run would do."""

import json
from collections.abc import Sequence

from matrixhub.cli.compose_args import add_compose_args
from matrixhub.cli.main import Parser


def main(argv: Sequence[str]) -> int:
    """Print the plan."""
    parser = Parser(prog="matrixhub plan", description="Show what run would do, without doing it.")
    add_compose_args(parser)
    form = parser.add_mutually_exclusive_group()
    form.add_argument("--json", action="store_true", help="as JSON")
    form.add_argument("--mermaid", action="store_true", help="as a flowchart in Mermaid's language")
    args = parser.parse_intermixed_args(argv)
    from matrixhub import api
    from matrixhub.plan.picture import mermaid
    from matrixhub.plan.text import plan_text

    plan = api.plan(args.overrides, multirun=args.multirun, config_dir=args.config_dir, force=args.force)
    if args.json:
        print(json.dumps(plan.to_dict(), indent=1, ensure_ascii=False))
    else:
        print(mermaid(plan) if args.mermaid else plan_text(plan))
    return 0
