"""A plan, stage by stage. A stage that fails costs the cells that need it, and no others."""

import contextlib
import json
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa
from accelerate.utils import gather_object

from matrixhub.data.columns import as_columns, require_columns, values
from matrixhub.data.digests import row_digests
from matrixhub.data.splits import Splits, make_splits
from matrixhub.data.store import StoredFeatures
from matrixhub.errors import MatrixHubError, TrainingError
from matrixhub.plan import Stage
from matrixhub.plan.cell import digest
from matrixhub.plugins import hub
from matrixhub.run.encode import encode_part
from matrixhub.run.model import build
from matrixhub.run.session import Session
from matrixhub.run.train import Workshop, train_cell

RECORDS = "records.jsonl"


@dataclass(slots=True)
class Failure:
    """Why a stage has no result."""

    error: Exception


@dataclass(slots=True)
class Executor:
    """Runs the stages of one plan in this process, beside the same executor on the other ranks."""

    session: Session
    results: dict[str, Any] = field(default_factory=dict)
    records: list[dict[str, Any]] = field(default_factory=list)
    workshop: Workshop = field(default_factory=lambda: Workshop({}, {}))

    def run(self) -> list[dict[str, Any]]:
        """All stages; one record for each cell."""
        plan = self.session.plan
        do: dict[str, Callable[[Stage], Any]] = {
            "load": self._load,
            "split": self._split,
            "encode": self._encode,
            "train": self._train,
        }
        for stage in plan.stages:
            self.results[stage.key] = self._attempt(stage, do[stage.kind])
        return self.records

    def _attempt(self, stage: Stage, work: Callable[[Stage], Any]) -> Any:
        broken = next((r for k in stage.needs if isinstance(r := self.results.get(k), Failure)), None)
        try:
            if broken:
                raise broken.error
            return work(stage)
        except Exception as error:
            if stage.kind == "train":
                self._record_failure(stage, error)
            return Failure(error)

    def _load(self, stage: Stage) -> pa.Table:
        table = build("source", stage.spec["source"]).read()
        if not table.num_rows:
            raise TrainingError(f"{stage.label} has no rows.")
        return table

    def _split(self, stage: Stage) -> Splits:
        (table,) = self._needed(stage)
        spec = stage.spec
        columns = [name for column in spec["columns"].values() for name in as_columns(column)]
        for name, column in spec["columns"].items():
            require_columns(table, as_columns(column), role=f"product.inputs.{name}.column")
        require_columns(table, [spec["target"]], role="the target of an output")
        options = {k: v for k, v in spec["split"].items() if k != "fractions"}
        return make_splits(
            table,
            inputs=columns,
            target=spec["target"],
            fractions=tuple(spec["split"]["fractions"]),
            **options,
        )

    def _encode(self, stage: Stage) -> StoredFeatures:
        (table,) = self._needed(stage)
        session, spec = self.session, stage.spec
        columns = as_columns(spec["column"])
        require_columns(table, columns, role="an input")
        loaded = session.encoder(spec["encoder"])
        component = hub().component("encoder", spec["encoder"]["name"])
        rows = b"".join(row_digests(table, columns, exact=True)).hex()
        key = digest([component.version, spec["encoder"], loaded.digest, spec["level"], columns, rows])
        with session.store.lock(key) if session.is_main else contextlib.nullcontext():
            stored = self._agree(session.store.get(key) if session.is_main else None, key)
            if stored is None:
                stored = self._compute(stage, table, loaded.module, key)
        return stored

    def _agree(self, mine: StoredFeatures | None, key: str) -> StoredFeatures | None:
        """What the main process found; the others read it for themselves."""
        if self.session.accelerator.num_processes == 1:
            return mine
        (found,) = gather_object([mine is not None])[:1]
        return (mine or self.session.store.get(key)) if found else None

    def _compute(self, stage: Stage, table: pa.Table, encoder: Any, key: str) -> StoredFeatures:
        session = self.session
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
        parts = [part] if world == 1 else gather_object([part])
        whole = [p for p in parts if p is not None]
        session.together(
            lambda: session.store.put(key, whole, num_rows=table.num_rows, pooled=level == "pooled"),
            main_only=True,
        )
        seconds = time.perf_counter() - started
        session.say(f"encoded {stage.label}: {table.num_rows:,} rows in {seconds:.1f} s")
        stored = session.store.get(key)
        if stored is None:
            raise TrainingError(f"The features just written are not readable at {session.store.folder(key)}.")
        return stored

    def _train(self, stage: Stage) -> dict[str, Any]:
        table, splits, *features = self._needed(stage)
        cell = self.session.plan.cells[stage.spec["cell"]]
        if self.session.is_main:
            hub().call("matrixhub_cell_started", cell=cell.to_dict())
        names = list(cell.product["inputs"])
        record = train_cell(
            cell,
            table=table,
            splits=splits,
            split_key=stage.needs[1],
            features=dict(zip(names, features, strict=True)) if features else {},
            session=self.session,
            workshop=self.workshop,
        )
        self._keep(record)
        if self.session.is_main:
            hub().call("matrixhub_cell_finished", cell=cell.to_dict(), record=record)
        return record

    def _needed(self, stage: Stage) -> list[Any]:
        return [self.results[key] for key in stage.needs]

    def _record_failure(self, stage: Stage, error: Exception) -> None:
        cell = self.session.plan.cells[stage.spec["cell"]]
        known = isinstance(error, MatrixHubError)
        self._keep(
            {
                "cell": cell.id,
                "name": cell.name,
                "product": cell.product["name"],
                "encoder": cell.encoder_label,
                "head": cell.head_label,
                "overrides": list(cell.overrides),
                "status": "failed",
                "error": str(error) if known else f"{type(error).__name__}: {error}",
                "exit_code": error.exit_code if isinstance(error, MatrixHubError) else 1,
            }
        )
        if not known and self.session.is_main:
            with (self.session.folder / "errors.log").open("a") as log:
                log.write(f"{cell.name}\n{''.join(traceback.format_exception(error))}\n")

    def _keep(self, record: dict[str, Any]) -> None:
        """Written at once, so that a run that is killed later has lost nothing."""
        self.records.append(record)
        if self.session.is_main:
            with (self.session.folder / RECORDS).open("a") as file:
                file.write(json.dumps(record, ensure_ascii=False) + "\n")
