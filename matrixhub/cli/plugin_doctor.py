"""``matrixhub plugin doctor``: every fault with its cause and cure."""

from collections.abc import Sequence

from matrixhub.cli.doctor import plugin_lines
from matrixhub.cli.main import Parser
from matrixhub.plugins import hub


def main(argv: Sequence[str]) -> int:
    """Print what is wrong with each plugin.

    Returns:
        1 when a plugin was set aside, or an allowed one is not there.
    """
    Parser(prog="matrixhub plugin doctor", description="Plugins, their faults, what to do.").parse_args(argv)
    print("\n".join(plugin_lines()))
    return 1 if hub().faults or hub().unknown else 0
