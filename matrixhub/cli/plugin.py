"""``matrixhub plugin``: what is installed, what is wrong with it, and what authors need."""

import argparse
import importlib
from collections.abc import Sequence

from matrixhub.cli.main import Parser, UsageError
from matrixhub.errors import unknown_name

COMMANDS = {
    "list": "installed plugins and what became of them",
    "doctor": "every fault with its cause and cure",
    "new": "a whole package to start a plugin from",
    "check": "whether a plugin keeps what its components promise",
}


def main(argv: Sequence[str]) -> int:
    """Hand over to the module of the command, so that none pays for another's imports."""
    lines = "\n".join(f"  {name:<8}{text}" for name, text in COMMANDS.items())
    parser = Parser(
        prog="matrixhub plugin",
        usage="matrixhub plugin COMMAND ...",
        description=f"Plugins, and what their authors need.\n\ncommands:\n{lines}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    if not argv or argv[0].startswith("-"):
        parser.parse_args(argv[:1])
        parser.print_help()
        return 2
    command, *rest = argv
    if command not in COMMANDS:
        raise UsageError(unknown_name("plugin command", command, COMMANDS, "See: matrixhub plugin --help"))
    code: int = importlib.import_module(f"matrixhub.cli.plugin_{command}").main(rest)
    return code
