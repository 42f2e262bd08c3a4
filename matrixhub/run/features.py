"""An encode stage: features that are stored already are read, the others computed once by all ranks."""

import contextlib
import time
from typing import Any

import numpy as np
import pyarrow as pa
from accelerate.utils import gather_object

from matrixhub.data.columns import as_columns, require_columns, values
from matrixhub.data.digests import row_digests
from matrixhub.data.store import StoredFeatures
from matrixhub.errors import TrainingError
from matrixhub.plan import Stage
from matrixhub.plan.cell import digest
from matrixhub.plan.identity import code_digest
from matrixhub.plugins import hub
from matrixhub.run.encode import encode_part
from matrixhub.run.session import Session


def stored_features(stage: Stage, table: pa.Table, session: Session) -> StoredFeatures:
    """Features of all rows of ``table`` for the column, encoder and level that the stage names.

    Raises:
        DataError: a missing column, or a value that cannot be encoded; names the row.
        TrainingError: what was written cannot be read back.
    """
    spec = stage.spec
    columns = as_columns(spec["column"])
    require_columns(table, columns, role="an input")
    loaded = session.together(lambda: session.encoder(spec["encoder"]))
    component = hub().component("encoder", spec["encoder"]["name"])
    rows = session.together(lambda: b"".join(row_digests(table, columns, exact=True)).hex())
    made_by = [component.version, code_digest(component.target), spec["encoder"], loaded.digest]
    key = digest([*made_by, spec["level"], columns, rows])
    with session.store.lock(key) if session.is_main else contextlib.nullcontext():
        stored = _agree(session, session.store.get(key) if session.is_main else None, key)
        return stored or _compute(stage, table, loaded.module, key=key, session=session)


def _agree(session: Session, mine: StoredFeatures | None, key: str) -> StoredFeatures | None:
    """What the main process found, if the others can read it too."""
    if session.accelerator.num_processes == 1:
        return mine
    (found,) = gather_object([mine is not None])[:1]
    if found and mine is None:
        mine = session.store.get(key)
    return mine if all(gather_object([mine is not None])) else None


def _compute(stage: Stage, table: pa.Table, encoder: Any, *, key: str, session: Session) -> StoredFeatures:
    world, rank = session.accelerator.num_processes, session.accelerator.process_index
    rows = np.arange(rank, table.num_rows, world)
    level = stage.spec["level"]
    started = time.perf_counter()
    with session.progress(f"encode {stage.label}", len(rows), "rows") as advance:
        part = session.together(
            lambda: encode_part(
                encoder,
                values(table, stage.spec["column"], rows, words=level == "tokens"),
                rows,
                level=level,
                device=session.accelerator.device,
                on_rows=advance,
            )
        )
    whole = [part] if world == 1 else gather_object([part])
    session.on_main(lambda: session.store.put(key, whole, num_rows=table.num_rows, pooled=level == "pooled"))
    seconds = time.perf_counter() - started
    session.say(f"encoded {stage.label}: {table.num_rows:,} rows in {seconds:.1f} s")
    stored = session.store.get(key)
    if stored is None:
        raise TrainingError(f"The features just written are not readable at {session.store.folder(key)}.")
    return stored
