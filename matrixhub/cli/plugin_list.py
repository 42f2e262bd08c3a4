"""``matrixhub plugin list``: installed plugins and what became of them."""

import json
from collections import Counter
from collections.abc import Sequence
from typing import Any

from matrixhub.cli.main import Parser
from matrixhub.plugins import Plugin, hub


def main(argv: Sequence[str]) -> int:
    """Print one line for each plugin."""
    parser = Parser(prog="matrixhub plugin list", description="Installed plugins and what became of them.")
    parser.add_argument("--json", action="store_true", help="as JSON")
    rows = [row(plugin) for plugin in hub().plugins] if parser.parse_args(argv).json else None
    print("\n".join(table()) if rows is None else json.dumps(rows, indent=1))
    return 0


def row(plugin: Plugin) -> dict[str, Any]:
    """What is known about a plugin, as plain data."""
    return {
        "namespace": plugin.namespace,
        "distribution": plugin.distribution,
        "version": plugin.version,
        "api": plugin.api,
        "components": components(plugin),
        "milliseconds": round(plugin.milliseconds, 2),
        "state": state(plugin),
        "fault": plugin.fault,
        "cure": plugin.cure,
        "warnings": plugin.warnings,
    }


def components(plugin: Plugin) -> dict[str, int]:
    """How many it offers of each kind."""
    own = [c.kind for c in hub().registry.of_kind() if c.namespace == plugin.namespace and not plugin.fault]
    return dict(Counter(own))


def state(plugin: Plugin) -> str:
    """In a word or two."""
    if plugin.fault:
        return "set aside"
    return "works, with a warning" if plugin.warnings else "works"


def table() -> list[str]:
    """A header and a line for each plugin, in columns."""
    rows = [("namespace", "distribution", "version", "API", "ms", "components", "state")]
    for plugin in hub().plugins:
        offered = ", ".join(f"{number} {kind}" for kind, number in components(plugin).items())
        told = f"{state(plugin)}: {plugin.fault}" if plugin.fault else state(plugin)
        rows.append(
            (plugin.namespace, plugin.distribution, plugin.version, str(plugin.api),
             f"{plugin.milliseconds:.1f}", offered or "-", told)
        )  # fmt: skip
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = ["  ".join(text.ljust(width) for text, width in zip(one, widths, strict=True)) for one in rows]
    return [line.rstrip() for line in lines]
