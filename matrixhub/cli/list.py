"""``matrixhub list``: installed components, and the presets made of them."""

import json
from collections.abc import Sequence
from typing import TYPE_CHECKING

from matrixhub.cli.main import Parser
from matrixhub.errors import UnknownNameError
from matrixhub.plugins import hub
from matrixhub.registry import KINDS

if TYPE_CHECKING:
    from matrixhub.config.presets import Preset


def main(argv: Sequence[str]) -> int:
    """Print one line for each component or preset."""
    parser = Parser(
        prog="matrixhub list",
        description="Installed components; those of one kind with the presets made of them; or the presets of"
        " a group, such as product, trainer, matrix.",
    )
    parser.add_argument("kind", nargs="?", metavar="KIND|GROUP", help=f"{', '.join(KINDS)}; product, ...")
    parser.add_argument("--json", action="store_true", help="as JSON")
    args = parser.parse_args(argv)
    kind = args.kind and args.kind.rstrip("s")
    ready = _ready(args.kind, kind) if kind else []
    components = hub().registry.of_kind(kind) if kind in (None, *KINDS) else []
    if args.json:
        rows = [
            {"kind": c.kind, "name": c.name, "consumes": c.consumes, "produces": c.produces,
             "distribution": c.distribution, "version": c.version} for c in components
        ]  # fmt: skip
        rows += [{"kind": "preset", "name": p.name, "group": p.group, "about": p.about} for p in ready]
        print(json.dumps(rows, indent=1, ensure_ascii=False))
        return 0
    names = [c.name for c in components] + [p.name for p in ready]
    width = max(map(len, names), default=0)
    for component in components:
        home = f"{component.distribution} {component.version}"
        print(f"{component.kind:<9}  {component.name:<{width}}  {_first_line(component.config)}  [{home}]")
    for preset in ready:
        print(f"preset     {preset.name:<{width}}  {preset.about}  [{preset.group}={preset.name}]")
    for plugin in hub().faults:
        why = f"{plugin.fault}; see: matrixhub plugin doctor"
        print(f"set aside  {plugin.namespace} ({plugin.distribution}): {why}")
    return 0


def _ready(typed: str, kind: str) -> "list[Preset]":
    """Presets of a kind of component, or of a group.

    Raises:
        UnknownNameError: it is neither.
    """
    from matrixhub.config.presets import presets

    known = presets()
    found = [p for p in known if f"{p.group}/".startswith((f"{kind}/", f"product/{kind}/"))]
    if not found and kind not in KINDS:
        raise UnknownNameError("kind", typed, sorted({*KINDS, *(p.group.partition("/")[0] for p in known)}))
    return found


def _first_line(config: type) -> str:
    return (config.__doc__ or "").strip().partition("\n")[0]
