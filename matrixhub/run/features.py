"""An encode stage: rows whose features are stored are read, the others encoded once, by all ranks."""

import contextlib
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
import pyarrow as pa
from accelerate.utils import broadcast_object_list, gather_object
from filelock import FileLock, Timeout

from matrixhub import __version__
from matrixhub.data.columns import (
    Rows,
    as_columns,
    present_rows,
    require_columns,
    require_values,
    values,
)
from matrixhub.data.digests import digest_table
from matrixhub.data.store import Shelf, StoredFeatures
from matrixhub.errors import DataError, TrainingError
from matrixhub.plan import Stage
from matrixhub.plan.cell import digest
from matrixhub.plan.identity import code_digest, libraries
from matrixhub.plugins import hub
from matrixhub.run.encode import encode_part, table_rows, takes_nulls
from matrixhub.run.layers import LAYERS, encoder_of, estimated_bytes
from matrixhub.run.probe import setting_for
from matrixhub.run.session import Advance, Loaded, Session
from matrixhub.run.setting import Setting, as_built

ROWS_PER_SEGMENT = {"pooled": 4096, "tokens": 512, "both": 512, LAYERS: 512}
"""What a killed run loses at most, on each rank, and what is held in memory at a time."""

SECONDS_BETWEEN_LOOKS = 10.0
"""At a lock that another process holds; the ranks hear from each other as often."""

T = TypeVar("T")


def stored_features(stage: Stage, table: pa.Table, session: Session) -> StoredFeatures | None:
    """Features of all rows of ``table`` for the column, encoder and level that the stage names.

    Of an optional input, those of the rows that have it, spread over all. None where they are hidden states
    that take more room than the stage allows.

    Raises:
        ConfigError: the encoder cannot be cut where the stage says.
        DataError: a missing column, or a value that cannot be encoded; names the row.
        TrainingError: the store cannot be written to or read back.
    """
    columns = as_columns(stage.spec["column"])
    require_columns(table, columns, role="an input")
    present = present_rows(table, stage.spec)
    if present is None:
        return _of_all(stage, table, session)
    if not present.any():
        raise DataError("no row has a value", column=columns[0])
    with table_rows(np.flatnonzero(present)):
        found = _of_all(stage, table.filter(present), session)
    return found and found.spread(present)


def _of_all(stage: Stage, table: pa.Table, session: Session) -> StoredFeatures | None:
    """Features of rows that all have the input."""
    spec = stage.spec
    columns = as_columns(spec["column"])
    loaded = session.together(lambda: session.encoder(spec["encoder"]))
    if not takes_nulls(loaded.module):
        require_values(table, columns)
    encoder = session.together(lambda: encoder_of(spec, loaded.module))
    about = _about(spec, loaded)
    if spec["level"] == LAYERS:
        about["trainable_layers"] = spec["trainable_layers"]
        size = _from_main(session, lambda: _size(spec, table, encoder, session)) / 1e9
        if size > spec["layers_budget_gb"]:
            session.say(
                f"{stage.label}: hidden states take {size:.3g} GB, over trainer.layers_budget_gb="
                f"{spec['layers_budget_gb']:g}; they are recomputed in each epoch"
            )
            return None
    digests = session.together(lambda: digest_table(table, columns, exact=True))
    setting = _from_main(
        session,
        lambda: _setting(spec, table, encoder, digests=digests, about=about, session=session),
    )
    shelf = _shelf(about, setting.precision, session)
    work = _Work(stage, table, encoder, setting, shelf, digests)
    num_rows, started = 0, time.perf_counter()
    found = session.together(lambda: shelf.find(digests).features or _leading(shelf, digests, session))
    if not _all(session, found is not None):
        with _alone(shelf.lock(), stage, session):
            rows = _from_main(session, lambda: shelf.begin(digests))
            num_rows, started = len(rows), time.perf_counter()
            _encode(work, rows, session)
            session.on_main(shelf.merge)
            found = session.together(lambda: shelf.find(digests)).features
    if not _all(session, found is not None) or found is None:
        raise TrainingError(f"The features just written are not readable at {shelf.folder}.")
    seconds = time.perf_counter() - started
    session.encoded[stage.key] = {"rows": num_rows, "seconds": round(seconds, 3), **setting.to_dict()}
    if num_rows:
        stored = (
            f", {table.num_rows - num_rows:,} repeat a row or were stored"
            if num_rows < table.num_rows
            else ""
        )
        how = "" if setting.precision == "float32" else f" in {setting.precision}"
        session.say(f"encoded {stage.label}: {num_rows:,} rows in {seconds:.1f} s{how}{stored}")
    return found


def _about(spec: Mapping[str, Any], loaded: Loaded) -> dict[str, Any]:
    """All that features depend on, beside the rows and the precision."""
    component = hub().component("encoder", spec["encoder"]["name"])
    return {
        "encoder": spec["encoder"],
        "level": spec["level"],
        "version": component.version,
        "code": code_digest(component.target),
        "core": __version__,
        "libraries": libraries(component.distribution),
        "content": loaded.digest,
    }


def _shelf(about: Mapping[str, Any], precision: str, session: Session) -> Shelf:
    whole = {**about, "precision": precision}
    return session.store.shelf(digest(whole), whole)


def _leading(shelf: Shelf, digests: np.ndarray[Any, Any], session: Session) -> StoredFeatures | None:
    """Pooled features that are stored before the tokens of the same rows, for cells that read those."""
    if shelf.about["level"] != "pooled":
        return None
    about = {**shelf.about, "level": "both"}
    found = _shelf(about, about["precision"], session).find(digests).features
    return found and found.first()


def _setting(
    spec: Mapping[str, Any],
    table: pa.Table,
    encoder: Any,
    *,
    digests: np.ndarray[Any, Any],
    about: Mapping[str, Any],
    session: Session,
) -> Setting:
    """How these rows are encoded; looked for on some of them."""
    if spec["level"] == LAYERS:
        # What trains on hidden states meets those of the encoder as it was built, when it answers.
        return as_built(encoder)
    return setting_for(
        encoder,
        lambda rows: values(table, spec["column"], rows, words=spec["level"] == "tokens", nulls=True),
        num_rows=table.num_rows,
        num_missing=lambda precision: _shelf(about, precision, session).num_missing(digests),
        # Pooled features may be taken from those with tokens, if these were made in the same way.
        key=digest({**about, "level": "pooled"} if spec["level"] == "both" else about),
        device=session.accelerator.device,
        root=session.store.root,
        options=session.plan.encode,
    )


def _size(spec: Mapping[str, Any], table: pa.Table, encoder: Any, session: Session) -> float:
    """Bytes of the hidden states of all rows, about."""
    return estimated_bytes(
        encoder,
        lambda rows: values(table, spec["column"], rows, nulls=True),
        table.num_rows,
        device=session.accelerator.device,
    )


@dataclass(frozen=True, slots=True)
class _Work:
    """Rows of a table, what encodes them and how, and where their features go."""

    stage: Stage
    table: pa.Table
    encoder: Any
    setting: Setting
    shelf: Shelf
    digests: np.ndarray[Any, Any]


def _encode(work: _Work, rows: Rows, session: Session) -> None:
    """Each rank encodes its share of the rows and writes it, segment by segment."""
    mine = rows[session.accelerator.process_index :: session.accelerator.num_processes]
    step = ROWS_PER_SEGMENT[work.stage.spec["level"]]

    def encode_mine() -> None:
        for start in range(0, len(mine), step):
            _encode_segment(work, mine[start : start + step], session=session, advance=advance)

    with session.progress(f"encode {work.stage.label}", len(mine), "rows") as advance:
        session.together(encode_mine)


def _encode_segment(work: _Work, rows: Rows, *, session: Session, advance: Advance) -> None:
    level = work.stage.spec["level"]
    part = encode_part(
        work.encoder,
        values(work.table, work.stage.spec["column"], rows, words=level == "tokens", nulls=True),
        rows,
        level=level,
        device=session.accelerator.device,
        setting=work.setting,
        on_rows=advance,
    )
    for removed in session.store.make_room(part.data.nbytes):
        name = removed.about.get("encoder", {}).get("name", "an encoder")
        session.say(f"removed {removed.num_rows:,} rows of {name} from the feature store: cache_limit_gb")
    work.shelf.add(part, work.digests)


@contextlib.contextmanager
def _alone(lock: FileLock, stage: Stage, session: Session) -> Iterator[None]:
    """All ranks, while the main process holds the lock; no rank waits long for another without a word."""

    def taken() -> bool:
        with contextlib.suppress(Timeout):
            lock.acquire(timeout=SECONDS_BETWEEN_LOOKS)
        return lock.is_locked

    try:
        while not _from_main(session, taken):
            session.say(f"encode {stage.label}: waiting for another process that encodes with it")
        yield
    finally:
        lock.release()


def _from_main(session: Session, work: Callable[[], T]) -> T:
    """What the main process finds, on every rank."""
    found = session.together(lambda: work() if session.is_main else None)
    if session.accelerator.num_processes > 1:
        (found,) = broadcast_object_list([found])
    return found  # type: ignore[return-value]


def _all(session: Session, mine: bool) -> bool:
    """Whether it holds on every rank."""
    return all(gather_object([mine])) if session.accelerator.num_processes > 1 else mine
