"""A plan, stage by stage. A stage that fails costs the cells that need it, and no others."""

import functools
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa

from matrixhub.data.columns import as_columns, require_columns, require_inputs
from matrixhub.data.split_names import SPLITS
from matrixhub.data.splits import Splits, make_splits
from matrixhub.data.store import StoredFeatures
from matrixhub.errors import DataError, MatrixHubError
from matrixhub.plan import Cell, Stage
from matrixhub.plan.cell import digest
from matrixhub.plugins import hub
from matrixhub.run.answers import finish_answers, write_answers
from matrixhub.run.features import stored_features
from matrixhub.run.finish import Workshop, finish_cell
from matrixhub.run.generate import answers_of
from matrixhub.run.joint_train import shared_failure, train_jointly
from matrixhub.run.model import build
from matrixhub.run.records import append_record, failure_record, log_unexpected
from matrixhub.run.session import Session
from matrixhub.run.targets import fit_targets
from matrixhub.run.teach import used_rows
from matrixhub.run.train import Given, Trained, own_failures, together_key, train_cells
from matrixhub.run.transform import transformed


@dataclass(slots=True)
class Failure:
    """Why a stage has no result."""

    error: Exception


@dataclass(slots=True)
class Executor:
    """Runs the stages of one plan in this process, beside the same executor on the other ranks."""

    session: Session
    results: dict[str, Any] = field(default_factory=dict)
    doomed: dict[str, Failure] = field(default_factory=dict)
    records: list[dict[str, Any]] = field(default_factory=list)
    workshop: Workshop = field(default_factory=Workshop)
    trained: dict[str, Trained | Exception] = field(default_factory=dict)

    def run(self) -> list[dict[str, Any]]:
        """All stages; one record for each cell."""
        plan = self.session.plan
        do: dict[str, Callable[[Stage], Any]] = {
            "load": self._load,
            "split": self._split,
            "encode": self._encode,
            "train": self._train,
            "generate": self._generate,
        }
        cells = sum(stage.cell is not None for stage in plan.stages)
        place = f"{plan.output_dir}/{self.session.folder.name}"
        self.session.say(
            f"{cells} cell{'' if cells == 1 else 's'} in {len(plan.stages)} stages, into {place}"
        )
        last_need = {key: stage.key for stage in plan.stages for key in stage.needs}
        looked_ahead = False
        for stage in plan.stages:
            if not looked_ahead and stage.kind not in ("load", "split"):
                self._look_ahead()
                looked_ahead = True
            self.results[stage.key] = self._attempt(stage, do[stage.kind])
            for key in stage.needs:
                if last_need[key] == stage.key:
                    self.results.pop(key, None)
        return self.records

    def _attempt(self, stage: Stage, work: Callable[[Stage], Any]) -> Any:
        try:
            if failure := self._already_failed(stage):
                raise failure.error
            return work(stage)
        except Exception as error:
            if self.session.accelerator.num_processes > 1 and not isinstance(error, MatrixHubError):
                # The other ranks have not heard of it: going on would leave them waiting.
                raise
            if stage.cell:
                self._record_failure(stage, error)
            return Failure(error)

    def _already_failed(self, stage: Stage) -> Failure | None:
        """Why the stage cannot be done, or is of use to no cell."""
        needed = (self.results.get(key) for key in stage.needs)
        broken = next((result for result in needed if isinstance(result, Failure)), None)
        if broken or stage.kind in ("load", "split"):
            return broken
        doomed = [self.doomed[cell] for cell in stage.cells if cell in self.doomed]
        return doomed[0] if len(doomed) == len(stage.cells) else None

    def _look_ahead(self) -> None:
        """Find the cells that cannot be scored before anything costly is done for them."""
        seen: dict[str, Failure | None] = {}
        for stage in self.session.plan.stages:
            if not stage.cell:
                continue
            if failure := self._already_failed(stage):  # its rows could not be split, say
                self.doomed[stage.cell] = failure
                continue
            product = self._cell(stage).product
            key = digest([stage.needs[:2], product["inputs"], product["outputs"]])
            if key not in seen:
                try:
                    self.session.together(functools.partial(self._try_targets, stage))
                    seen[key] = None
                except MatrixHubError as error:
                    seen[key] = Failure(error)
            if failure := seen[key]:
                self.doomed[stage.cell] = failure
        self._doom_partners()

    def _doom_partners(self) -> None:
        """Cells whose joint group has one that cannot be scored."""
        cells = self.session.plan.cells
        broken = {cells[cell].joint: cell for cell in self.doomed if cells[cell].joint}
        for cell in cells.values():
            if cell.joint in broken and cell.id not in self.doomed:
                first = broken[cell.joint]
                self.doomed[cell.id] = Failure(shared_failure(cells[first], self.doomed[first].error))

    def _try_targets(self, stage: Stage) -> None:
        """Raises what is wrong with the right answers of a cell."""
        table, splits = (self.results[need] for need in stage.needs[:2])
        outputs, inputs = (self._cell(stage).product[part] for part in ("outputs", "inputs"))
        require_inputs(table, inputs)
        if stage.kind == "generate":
            cell = self._cell(stage)
            answers_of(table, outputs, used_rows(cell, Given(table, splits, stage.needs[1], {})))
        else:
            fit_targets(table, outputs, inputs, splits)

    def _load(self, stage: Stage) -> pa.Table:
        source = stage.spec["source"]
        table = self.session.together(lambda: build("source", source).read())
        if not table.num_rows:
            raise DataError(f"{source['name']} has no rows.")
        return self.session.together(lambda: transformed(table, stage.spec["transform"]))

    def _split(self, stage: Stage) -> Splits:
        (table,) = self._needed(stage)
        spec = stage.spec
        columns = [name for column in spec["columns"].values() for name in as_columns(column)]
        for name, column in spec["columns"].items():
            require_columns(table, as_columns(column), role=f"product.inputs.{name}.column")
        require_columns(table, [spec["target"]] if spec["target"] else [], role="the target of an output")
        options = {k: v for k, v in spec["split"].items() if k != "fractions"}
        return self.session.together(
            lambda: make_splits(
                table,
                inputs=columns,
                target=spec["target"],
                fractions=tuple(spec["split"]["fractions"]),
                needed=("test",) if spec["test_only"] else SPLITS,
                **options,
            )
        )

    def _encode(self, stage: Stage) -> StoredFeatures | None:
        (table,) = self._needed(stage)
        return stored_features(stage, table, self.session)

    def _train(self, stage: Stage) -> dict[str, Any]:
        cell, given = self._cell(stage), self._given(stage)
        if cell.id not in self.trained:
            stages = self._to_train_with(stage)
            cells = [self._cell(one) for one in stages]
            self._begin(cells)
            try:
                found: Sequence[Trained | Exception]
                if cell.joint:
                    found = train_jointly(cells, [self._given(one) for one in stages], self.session)
                else:
                    found = train_cells(cells, given, self.session)
            except own_failures(self.session) as error:  # of all of them: found out once
                found = [error] * len(cells)
            self.trained |= dict(zip((one.id for one in cells), found, strict=True))
        trained = self.trained.pop(cell.id)
        if isinstance(trained, Exception):
            raise trained
        record = finish_cell(cell, trained, given, session=self.session, workshop=self.workshop)
        record["encode"] = {key: fact for key, fact in self.session.encoded.items() if key in stage.needs}
        self._keep(cell, record)
        return record

    def _generate(self, stage: Stage) -> dict[str, Any]:
        cell, given = self._cell(stage), self._given(stage)
        self._begin([cell])
        answers = write_answers(cell, given, self.session)
        record = finish_answers(cell, answers, given, session=self.session, shared=self.workshop.written)
        record["encode"] = {key: fact for key, fact in self.session.encoded.items() if key in stage.needs}
        self._keep(cell, record)
        return record

    def _begin(self, cells: Sequence[Cell]) -> None:
        for cell in cells if self.session.is_main else ():
            hub().call("matrixhub_cell_started", cell=cell.to_dict())
            self.session.callbacks.tell("on_cell_start", cell.to_dict())

    def _to_train_with(self, stage: Stage) -> list[Stage]:
        """A stage and all others, not yet done, whose cells train as one with its own."""
        key = together_key(self._cell(stage), stage.needs)
        others = [other for other in self.session.plan.stages if other.kind == "train"]
        return [
            other
            for other in others[others.index(stage) :]
            if together_key(self._cell(other), other.needs) == key and other.spec["cell"] not in self.doomed
        ]

    def _cell(self, stage: Stage) -> Cell:
        return self.session.plan.cells[stage.spec["cell"]]

    def _given(self, stage: Stage) -> Given:
        table, splits, *features = self._needed(stage)
        names = self._cell(stage).encoded
        # Where one input's hidden states are too large to be stored, all inputs are read from the rows.
        is_read = not features or None in features
        stored = {} if is_read else dict(zip(names, features, strict=True))
        return Given(table, splits, split_key=stage.needs[1], features=stored)

    def _needed(self, stage: Stage) -> list[Any]:
        return [self.results[key] for key in stage.needs]

    def _record_failure(self, stage: Stage, error: Exception) -> None:
        cell = self._cell(stage)
        if self.session.is_main:
            log_unexpected(self.session.folder, cell, error)
        self._keep(cell, failure_record(cell, error))

    def _keep(self, cell: Cell, record: dict[str, Any]) -> None:
        self.records.append(record)
        if self.session.is_main:
            append_record(self.session.folder, record)
            hub().call("matrixhub_cell_finished", cell=cell.to_dict(), record=record)
            self.session.callbacks.tell("on_cell_end", cell.to_dict(), record)
