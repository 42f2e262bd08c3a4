"""Arguments shared by the commands that compose a config."""

from pathlib import Path

from matrixhub.cli.main import Parser

OVERRIDES_HELP = "Hydra overrides: GROUP=OPTION (head=mlp) or KEY=VALUE (trainer.lr=3e-4)"


def add_compose_args(parser: Parser) -> None:
    """Overrides, ``-m``, ``--config-dir`` and ``--force``."""
    parser.add_argument("overrides", nargs="*", metavar="OVERRIDE", help=OVERRIDES_HELP)
    parser.add_argument("-m", "--multirun", action="store_true", help="sweep over comma-separated values")
    parser.add_argument(
        "--config-dir", type=Path, metavar="DIR", help="a folder of your own YAML, laid out like conf/"
    )
    parser.add_argument("--force", action="store_true", help="also cells that an earlier run has finished")
