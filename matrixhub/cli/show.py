"""``matrixhub show``: one component and its options, a preset, or a config and where its values came from."""

import json
from collections.abc import Sequence
from pathlib import Path

from matrixhub.cli.compose_args import OVERRIDES_HELP
from matrixhub.cli.main import Parser
from matrixhub.config.describe import describe
from matrixhub.errors import UnknownNameError
from matrixhub.plugins import hub
from matrixhub.registry import Component


def main(argv: Sequence[str]) -> int:
    """Print every component or preset of that name, or the config that the overrides name."""
    parser = Parser(
        prog="matrixhub show",
        usage="matrixhub show NAME | matrixhub show OVERRIDE ... [--config-dir DIR] [--json]",
        description="One component: its options with types, defaults and docs."
        " Or the config that overrides make, and where each value of it came from.",
    )
    parser.add_argument(
        "words",
        nargs="+",
        metavar="NAME|OVERRIDE",
        help=f"full name (text.transformer), or alias where unique. Or {OVERRIDES_HELP}",
    )
    parser.add_argument(
        "--config-dir", type=Path, metavar="DIR", help="with overrides: a folder of your own YAML"
    )
    parser.add_argument(
        "--json", action="store_true", help="with overrides: values and sources by key, as JSON"
    )
    args = parser.parse_intermixed_args(argv)
    if any("=" in word or word.startswith("~") for word in args.words):
        print(_config(args.words, [args.config_dir] if args.config_dir else [], as_json=args.json))
    else:
        print("\n\n".join(page for name in args.words for page in _pages(name)))
    return 0


def _config(overrides: Sequence[str], folders: Sequence[Path], *, as_json: bool) -> str:
    from matrixhub.config.compose import Composer
    from matrixhub.config.provenance import annotated, by_key, provenance

    composer = Composer(folders)
    config = composer.compose(overrides).config
    found = provenance(composer, overrides)
    if as_json:
        return json.dumps(by_key(config, found), indent=1, ensure_ascii=False)
    return annotated(config, found)


def _pages(name: str) -> list[str]:
    """Of every component or preset of that name.

    Raises:
        UnknownNameError: there is none.
    """
    from matrixhub.config.presets import presets

    known, ready = hub().registry.of_kind(), presets()
    found = [_page(c) for c in known if name in (c.name, c.alias)]
    found += [f"{p.group}={p.name}\n{p.path.read_text('utf-8').rstrip()}" for p in ready if p.name == name]
    if not found:
        names = {c.name if "." in name else c.alias for c in known} | {p.name for p in ready}
        raise UnknownNameError("component or preset", name, names, hub().fault_of(name))
    return found


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
