"""``matrixhub list``: installed components."""

import json
from collections.abc import Sequence

from matrixhub.cli.main import Parser
from matrixhub.errors import UnknownNameError
from matrixhub.plugins import hub
from matrixhub.registry import KINDS


def main(argv: Sequence[str]) -> int:
    """Print one line for each component."""
    parser = Parser(prog="matrixhub list", description="Installed components, by kind.")
    parser.add_argument("kind", nargs="?", metavar="KIND", help=", ".join(KINDS))
    parser.add_argument("--json", action="store_true", help="as JSON")
    args = parser.parse_args(argv)
    if args.kind and args.kind.rstrip("s") not in KINDS:
        raise UnknownNameError("kind", args.kind, KINDS)
    components = hub().registry.of_kind(args.kind and args.kind.rstrip("s"))
    if args.json:
        rows = [
            {"kind": c.kind, "name": c.name, "consumes": c.consumes, "produces": c.produces,
             "distribution": c.distribution, "version": c.version} for c in components
        ]  # fmt: skip
        print(json.dumps(rows, indent=1))
        return 0
    width = max((len(c.name) for c in components), default=0)
    for component in components:
        home = f"{component.distribution} {component.version}"
        print(f"{component.kind:<9}  {component.name:<{width}}  {_first_line(component.config)}  [{home}]")
    for plugin in hub().faults:
        why = f"{plugin.fault}; see: matrixhub plugin doctor"
        print(f"set aside  {plugin.namespace} ({plugin.distribution}): {why}")
    return 0


def _first_line(config: type) -> str:
    return (config.__doc__ or "").strip().partition("\n")[0]
