"""What this plugin offers; imports nothing heavy."""

from typing import Any

from matrixhub import hookimpl

matrixhub_api = 1


@hookimpl
def matrixhub_cli(group: Any) -> None:
    """One command."""
    group.add(
        "pretrain",
        "matrixhub_pretraining.command:main",
        help="train a BERT from raw text, or train one further on the texts of a domain",
    )
