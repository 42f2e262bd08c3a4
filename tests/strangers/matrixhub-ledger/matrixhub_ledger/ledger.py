"""Who did what, and how well, one line a cell."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any


class Ledger:
    """Writes to the end of a file, so that several runs share one.

    Args:
        path: of the file.
    """

    def __init__(self, *, path: str) -> None:
        self.path = Path(path)

    def on_cell_end(self, cell: Mapping[str, Any], record: Mapping[str, Any]) -> None:
        """One more line."""
        line = {
            "cell": cell["id"],
            "name": cell["name"],
            "status": record["status"],
            "metrics": record.get("metrics", {}),
        }
        with self.path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(line, ensure_ascii=False) + "\n")
