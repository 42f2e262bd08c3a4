"""What ``test_features`` starts in processes of its own: encode stages, slowly, and what this process saw.

    python -m tests.unit.run.features_script FOLDER NAME ROWS...

For each ROWS, a number of toy rows (with ``!`` behind it, this rank fails when it is rank 1), what was seen
goes to FOLDER/NAME-RANK.json.
"""

import hashlib
import json
import os
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch

import matrixhub as mh
from matrixhub.run import encode, features
from matrixhub.run.model import build
from matrixhub.run.session import open_session

SEGMENT = 50
SECONDS = 0.2


def main(folder: Path, name: str, cases: list[str]) -> None:
    rank = int(os.environ.get("RANK", "0"))
    seen = [see(folder, case, rank) for case in cases]
    (folder / f"{name}-{rank}.json").write_text(json.dumps(seen))
    if torch.distributed.is_initialized():
        torch.distributed.destroy_process_group()


def see(folder: Path, case: str, rank: int) -> dict[str, Any]:
    """How many rows this process encoded, and a hash of the features of all."""
    counts: list[int] = []

    def slow(encoder: Any, values: Any, rows: Any, **options: Any) -> Any:
        if case.endswith("!") and rank == 1:
            raise mh.DataError("no good", row=int(rows[0]))
        counts.append(len(rows))
        time.sleep(SECONDS)
        return encode.encode_part(encoder, values, rows, **options)

    features.encode_part = slow  # type: ignore[attr-defined]
    features.ROWS_PER_SEGMENT = {"pooled": SEGMENT, "tokens": SEGMENT}
    rows = int(case.rstrip("!"))
    plan = mh.plan(["product=toy", "encoder/text=hash", f"product.source.rows={rows}", f"cache_dir={folder}"])
    session = open_session(plan, folder, quiet=True)
    (load,) = (stage for stage in plan.stages if stage.kind == "load")
    (stage,) = (stage for stage in plan.stages if stage.kind == "encode")
    table = build("source", load.spec["source"]).read()
    try:
        stored = features.stored_features(stage, table, session)
    except Exception as error:
        return {"encoded": sum(counts), "error": f"{type(error).__name__}: {error}"}
    assert stored is not None
    data = stored.pooled_rows(np.arange(rows))
    return {"encoded": sum(counts), "shape": data.shape, "hash": hashlib.sha256(data.tobytes()).hexdigest()}


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2], sys.argv[3:])
