"""``matrixhub show``: one component and its options."""

from collections.abc import Sequence

from matrixhub.cli.main import Parser
from matrixhub.config.describe import describe
from matrixhub.errors import UnknownNameError
from matrixhub.plugins import hub
from matrixhub.registry import Component


def main(argv: Sequence[str]) -> int:
    """Print every component of that name."""
    parser = Parser(
        prog="matrixhub show", description="One component: its options with types, defaults and docs."
    )
    parser.add_argument("name", metavar="NAME", help="full name (text.transformer), or alias where unique")
    name = parser.parse_args(argv).name
    known = hub().registry.of_kind()
    found = [c for c in known if name in (c.name, c.alias)]
    if not found:
        names = {c.name if "." in name else c.alias for c in known}
        raise UnknownNameError("component", name, names, hub().fault_of(name))
    print("\n\n".join(_page(component) for component in found))
    return 0


def _page(component: Component) -> str:
    lines = [f"{component.name} ({component.kind}, {component.distribution} {component.version})"]
    lines += [f"  {line}".rstrip() for line in (component.config.__doc__ or "").strip().splitlines()]
    if component.consumes:
        lines.append(f"  reads: {', '.join(component.consumes)}")
    if component.produces:
        lines.append(f"  gives: {', '.join(component.produces)}")
    lines.append(f"  choose it with: {component.groups[0]}={component.name}")
    prefix = component.groups[0].replace("/", ".")
    for option in describe(component.config):
        default = "required" if option.required else f"default {option.default!r}"
        lines += ["", f"  {prefix}.{option.name}: {option.type}, {default}"]
        lines += [f"      {line}".rstrip() for line in option.doc.splitlines()]
    return "\n".join(lines)
