"""What earlier runs under one output folder have done, from their records alone."""

import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

RECORDS = "records.jsonl"
FROM_RUN = "from_run"
"""Key of a record that was taken over: the name of the run folder whose cell it was."""

Record = dict[str, Any]
_CELL = re.compile(r'\{"cell": "(\w+)"')


def read_records(folder: Path) -> list[Record]:
    """Records of a finished or broken run; a line that was cut short is left out."""
    path = folder / RECORDS
    if not path.exists():
        return []
    # Not splitlines(): it also splits at characters that JSON leaves inside of texts, such as U+2028.
    lines = path.read_text(encoding="utf-8", errors="replace").split("\n")
    return [record for line in lines if (record := _parsed(line))]


def main_value(record: Record) -> float | None:
    """Mean of the main metrics of a cell's outputs, larger is better; None where there is none."""
    if record["status"] != "done":
        return None
    values = []
    for output, main in record["main"].items():
        value = record["metrics"][output][main["metric"]]
        if value is None:
            return None
        values.append(value if main["higher_is_better"] else -value)
    return float(sum(values) / len(values))


class History(Mapping[str, Record]):
    """Newest record of each cell that is done and whose artifact is still there, by cell id.

    Records are long and most are never asked for: a line is parsed when its cell is.

    Args:
        output_dir: holds the run folders.
    """

    def __init__(self, output_dir: str | Path) -> None:
        self._lines: dict[str, list[tuple[str, str]]] = {}
        for path in sorted(Path(output_dir).glob(f"*/{RECORDS}"), reverse=True):
            for line in path.read_text(encoding="utf-8", errors="replace").split("\n"):
                if found := _CELL.match(line):
                    self._lines.setdefault(found[1], []).append((path.parent.name, line))

    def __getitem__(self, cell: str) -> Record:
        for run, line in self._lines[cell]:
            record = _parsed(line)
            if record.get("status") == "done" and (Path(record["artifact"]) / "manifest.json").is_file():
                return {**record, FROM_RUN: record.get(FROM_RUN, run)}
        raise KeyError(cell)

    def __iter__(self) -> Iterator[str]:
        return (cell for cell in self._lines if self.get(cell))

    def __len__(self) -> int:
        return sum(1 for _ in self)


def _parsed(line: str) -> Record:
    try:
        record: Record = json.loads(line)
    except json.JSONDecodeError:  # the run was killed while it wrote
        return {}
    return record
