"""``matrixhub plugin list``: installed plugins and what became of them."""

from collections.abc import Sequence

from matrixhub.cli.doctor import plugin_lines
from matrixhub.cli.main import Parser


def main(argv: Sequence[str]) -> int:
    """Print one line for each plugin."""
    Parser(prog="matrixhub plugin list", description="Installed plugins.").parse_args(argv)
    print("\n".join(plugin_lines()))
    return 0
