"""What this plugin offers."""

from dataclasses import dataclass

from matrixhub import Register, hookimpl

matrixhub_api = 1


@dataclass
class LedgerConfig:
    """Appends a line of JSON to a file for each cell that has ended."""

    path: str = "ledger.jsonl"
    """The file; it is made where there is none."""


@hookimpl
def matrixhub_components(register: Register) -> None:
    """One callback."""
    register("callback", "ledger", "matrixhub_ledger.ledger:Ledger", config=LedgerConfig)
