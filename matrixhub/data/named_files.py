"""The files that a table's cells name, read in plain Python where that can be: a plan needs no pyarrow."""

import csv
import json
from collections.abc import Iterator, Sequence
from pathlib import Path


def named_in_text(path: Path, columns: Sequence[str], *, delimiter: str | None) -> Iterator[str]:
    """Every file name in those columns of a csv (``delimiter``) or jsonl (None) file, as written there.

    Raises:
        ValueError: the file is not as it should be; whoever reads it properly can say how.
    """
    try:
        with path.open(encoding="utf-8-sig", newline="") as lines:
            rows = csv.DictReader(lines, delimiter=delimiter) if delimiter else map(json.loads, lines)
            for row in rows:
                yield from (str(row[name] or "") for name in columns)
    except (csv.Error, KeyError, TypeError) as error:
        raise ValueError(f"{path} is not a table") from error
