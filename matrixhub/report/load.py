"""What a run folder says of its run, finished or broken. A file that was cut short upsets nothing."""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from matrixhub.errors import ConfigError

Record = Mapping[str, Any]

RECORDS, PLAN, FACTS = "records.jsonl", "plan.json", "run.json"

DONE_KEYS = {"cell", "name", "product", "encoder", "head", "overrides", "main", "metrics", "num_rows"}
FAILED_KEYS = {"cell", "name", "product", "encoder", "head", "overrides", "error"}


@dataclass(frozen=True, slots=True)
class RunData:
    """One run as its folder tells it.

    Attributes:
        folder: of the run.
        records: the last one of each cell, in the order the cells were first recorded.
        plan: as in ``plan.json``; empty where that is missing or cut.
        facts: as in ``run.json``: versions, machine, command line; empty where that is missing or cut.
    """

    folder: Path
    records: list[Record]
    plan: Record
    facts: Record

    @property
    def done(self) -> list[Record]:
        """Records of cells that finished."""
        return [record for record in self.records if record["status"] == "done"]

    @property
    def failed(self) -> list[Record]:
        """Records of cells that did not."""
        return [record for record in self.records if record["status"] == "failed"]

    @property
    def refused(self) -> list[Record]:
        """Cells that the plan refused, with ``name``, ``overrides`` and ``reasons``."""
        found: list[Record] = self.plan.get("refused", [])
        return found

    @property
    def unfinished(self) -> list[Record]:
        """Planned cells without a record: the run was stopped before them."""
        known = {record["cell"] for record in self.records}
        return [cell for cell in self.plan.get("cells", ()) if cell["id"] not in known]


STOPPED = "the run was stopped before it; the same command goes on from here"


def missing(run: RunData) -> list[tuple[str, str, Sequence[str], str]]:
    """What happened, name, overrides and reason of each cell that has no result."""
    found = [("failed", one["name"], one["overrides"], one["error"]) for one in run.failed]
    found += [("refused", one["name"], one["overrides"], " ".join(one["reasons"])) for one in run.refused]
    return found + [("not reached", one["name"], one["overrides"], STOPPED) for one in run.unfinished]


def load_run(folder: Path) -> RunData:
    """Read a run folder; lines and files that were cut short are left out.

    Raises:
        ConfigError: it is not the folder of a run; names those that are near.
    """
    folder = Path(folder)
    if not any((folder / name).is_file() for name in (RECORDS, PLAN)):
        near = sorted(path.parent for depth in ("*", "*/*") for path in folder.glob(f"{depth}/{PLAN}"))
        hint = f" There is one in {near[-1]}." if near else ""
        raise ConfigError(f"{folder} is not the folder of a run: it has no {RECORDS} and no {PLAN}.{hint}")
    last = {record["cell"]: record for record in _records(folder / RECORDS)}
    return RunData(folder.resolve(), list(last.values()), _json(folder / PLAN), _json(folder / FACTS))


def _records(path: Path) -> Iterator[Record]:
    """Every line that holds a whole record."""
    if not path.is_file():
        return
    with path.open(encoding="utf-8", errors="replace") as file:
        for line in file:
            try:
                record = json.loads(line)
            except ValueError:
                continue
            needed = {"done": DONE_KEYS, "failed": FAILED_KEYS}
            status = record.get("status") if isinstance(record, dict) else None
            if status in needed and needed[status] <= record.keys():
                yield record


def _json(path: Path) -> Record:
    try:
        found = json.loads(path.read_text(encoding="utf-8", errors="replace"))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}
