"""``matrixhub plugin doctor``: every fault with its cause and cure, and what will be one."""

import json
from collections.abc import Iterator, Sequence

from matrixhub.cli.main import Parser
from matrixhub.cli.plugin_list import components, row, state
from matrixhub.config.presets import hidden_presets
from matrixhub.diagnosis import missing_modules, requirement_warning, shared_aliases
from matrixhub.plugins import CORE, CORE_TARGET, Plugin, hub


def main(argv: Sequence[str]) -> int:
    """Print what is wrong with each plugin.

    Returns:
        1 when a plugin was set aside, or an allowed one is not there.
    """
    parser = Parser(prog="matrixhub plugin doctor", description="Plugins, their faults, what to do.")
    parser.add_argument("--json", action="store_true", help="as JSON")
    if parser.parse_args(argv).json:
        doubts = warnings()
        rows = [row(plugin) | {"warnings": doubts[id(plugin)]} for plugin in hub().plugins]
        print(json.dumps({"plugins": rows, "unknown": hub().unknown}, indent=1))
    else:
        print("\n".join(plugin_lines()))
    return 1 if hub().faults or hub().unknown else 0


def warnings() -> dict[int, list[str]]:
    """By plugin: what loading it warned of, its requirement of us, what hides or shares its names."""
    offered = hub().registry.of_kind()
    missing, shared = missing_modules(offered), shared_aliases(offered)
    found = {
        p.namespace: [*missing.get(p.namespace, []), *shared.get(p.namespace, [])] for p in hub().plugins
    }
    return {id(plugin): list(_warnings(plugin, found[plugin.namespace])) for plugin in hub().plugins}


def _warnings(plugin: Plugin, of_components: Sequence[str]) -> Iterator[str]:
    yield from plugin.warnings
    if plugin.namespace != CORE and (doubt := requirement_warning(plugin.distribution)):
        yield doubt
    for preset in hidden_presets(plugin.config_dirs):
        yield f"its preset {preset} is never used, MatrixHub has one of that name; its author: rename it"
    if not plugin.fault:
        yield from of_components


def plugin_lines() -> list[str]:
    """What each plugin offers, or why it was set aside and what to do; imports nothing heavy."""
    lines, doubts, pad = ["plugins"], warnings(), " " * 10
    for plugin in hub().plugins:
        count = sum(components(plugin).values())
        told = f"{state(plugin)}: {plugin.fault}" if plugin.fault else f"{count} components"
        lines.append(f"  {plugin.namespace:<10} {plugin.distribution} {plugin.version}: {told}")
        if plugin.fault:
            riddance = f"; to be rid of it: pip uninstall {plugin.distribution}"
            lines.append(
                f"  {pad} what to do: {plugin.cure}{'' if plugin.target == CORE_TARGET else riddance}"
            )
        lines += [f"  {pad} warning: {text}" for text in doubts[id(plugin)]]
    return [*lines, *(f"  {sentence}" for sentence in hub().unknown)]
