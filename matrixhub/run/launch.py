"""From a plan to a finished run: in this process, or on ranks that are started once for the whole plan.

The parent of ranks imports no torch: it writes the plan, starts the ranks and reads their records. A rank
reads the plan; it never sees the command line and never composes a config.
"""

import dataclasses
import importlib.util
import json
import os
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from matrixhub.errors import ConfigError, MatrixHubError, PluginError, TrainingError
from matrixhub.plan import Plan
from matrixhub.plan.history import FROM_RUN, RECORDS, History, read_records
from matrixhub.plugins import hub
from matrixhub.run.environment import write_facts
from matrixhub.run.records import record_head

PLAN, ERROR = "plan.json", "error.json"


@dataclass(frozen=True, slots=True)
class Run:
    """One execution of a plan.

    Attributes:
        folder: holds the plan, the records and the artifacts.
        plan: what was done.
        records: one for each cell, in the order of the plan; those that were taken over say ``from_run``.
    """

    folder: Path
    plan: Plan
    records: list[dict[str, Any]]

    @property
    def failed(self) -> list[dict[str, Any]]:
        """Records of cells that did not finish."""
        return [record for record in self.records if record["status"] == "failed"]

    def load(self, name: str) -> Any:
        """The trained product of the cell with that name, id or artifact (or the only one of that product).

        Raises:
            MatrixHubError: none, or several, go by that name.
        """
        from matrixhub.run.saved import load_product

        done = [record for record in self.records if record["status"] == "done"]
        found = [r for r in done if name in (r["name"], r["product"], r["cell"], Path(r["artifact"]).name)]
        if len(found) != 1:
            names = ", ".join(Path(record["artifact"]).name for record in done) or "none"
            failed = "".join(f" {r['name']} failed: {r['error']}" for r in self.failed if r["name"] == name)
            raise MatrixHubError(
                f"{len(found)} trained cells are called '{name}'. This run has: {names}.{failed}"
            )
        return load_product(found[0]["artifact"])


def new_run_folder(output_dir: str) -> Path:
    """A folder of its own for this run, named by the time."""
    stamp = time.strftime("%Y-%m-%d_%H-%M-%S")
    for number in range(1, 10_000):
        folder = Path(output_dir) / (stamp if number == 1 else f"{stamp}-{number}")
        try:
            folder.mkdir(parents=True)
        except FileExistsError:
            continue
        except OSError as error:
            raise ConfigError(f"output_dir={output_dir}: no folder can be made there ({error}).") from error
        return folder.resolve()
    raise MatrixHubError(f"Too many runs in {output_dir} at once.")


def execute(plan: Plan, *, quiet: bool = False, into: Run | None = None) -> Run:
    """Run a plan to its records.

    Args:
        plan: what to do.
        quiet: say nothing on stderr.
        into: the batches before this one of a search; they share a run folder.

    Raises:
        MatrixHubError: the run as a whole could not go on; a cell that fails is a record instead.
    """
    if plan.stages:
        require_torch()
    if into and is_rank():
        raise ConfigError("A search starts its own ranks: launch.num_processes=N, without torchrun.")
    folder = into.folder if into else new_run_folder(plan.output_dir)
    whole = into.plan.then(plan) if into else plan
    # The workers do the stages of this batch, and know the cells of all.
    _write_plan(folder, dataclasses.replace(whole, stages=plan.stages))
    write_facts(folder)
    _take_over(plan, folder, quiet=quiet)
    hub().call("matrixhub_run_started", run=Run(folder, plan, []))
    try:
        _work(plan, folder, quiet=quiet)
    finally:
        # Also of a run that is interrupted: what it did is kept, in order, and plugins hear of its end.
        _write_plan(folder, whole)
        run = Run(folder, whole, _put_in_order(folder, whole))
        hub().call("matrixhub_run_finished", run=run, records=run.records)
    return run


def _work(plan: Plan, folder: Path, *, quiet: bool) -> None:
    """The stages, here or on ranks."""
    if is_rank():
        # Also when nothing is left to do: the other ranks wait for word from this one.
        from matrixhub.run.worker import lead

        lead(folder, quiet=quiet)
    elif plan.launch["num_processes"] > 1 and plan.stages:
        _start_ranks(folder, plan.launch, quiet=quiet)
    elif plan.stages:
        from matrixhub.run.worker import work

        work(folder, quiet=quiet)


def _write_plan(folder: Path, plan: Plan) -> None:
    """Whole or not at all: another rank may be reading it."""
    scratch = folder / f".{PLAN}"
    scratch.write_text(json.dumps(plan.to_dict(), indent=1, ensure_ascii=False), encoding="utf-8")
    scratch.replace(folder / PLAN)


def _take_over(plan: Plan, folder: Path, *, quiet: bool) -> None:
    """Records of cells that are done join the run's, named as in its plan; artifacts stay where they are."""
    earlier = History(plan.output_dir)
    here = {record["cell"] for record in read_records(folder)}
    taken = [earlier[cell] | record_head(plan.cells[cell], "done") for cell in plan.done if cell not in here]
    if taken:
        _write_records(folder, [*read_records(folder), *taken])
    if taken and not quiet:
        runs = ", ".join(sorted({record[FROM_RUN] for record in taken}))
        count = f"{len(taken)} of {len(plan.cells)} cells were done before"
        print(f"{count} ({runs}); --force runs them again", file=sys.stderr, flush=True)


def _put_in_order(folder: Path, plan: Plan) -> list[dict[str, Any]]:
    """The last record of each cell in the order of the plan, on disk too.

    A run that went on where another stopped, or went batch by batch, is then like any other.
    """
    found = read_records(folder)
    last = {record["cell"]: record for record in found}
    ordered = [last[cell] for cell in plan.cells if cell in last]
    if ordered != found:
        _write_records(folder, ordered)
    return ordered


def _write_records(folder: Path, records: Sequence[dict[str, Any]]) -> None:
    lines = (json.dumps(record, ensure_ascii=False, allow_nan=False) + "\n" for record in records)
    scratch = folder / f".{RECORDS}"
    scratch.write_text("".join(lines), encoding="utf-8")
    scratch.replace(folder / RECORDS)


def is_rank() -> bool:
    """Whether ``torchrun`` or ``accelerate launch`` started this process as one of several."""
    return int(os.environ.get("WORLD_SIZE", "1")) > 1 and "RANK" in os.environ


def follow() -> Run:
    """Do this rank's part of the run that rank 0 plans."""
    from matrixhub.run import worker

    folder = worker.follow()
    plan = Plan.from_dict(json.loads((folder / PLAN).read_text()))
    return Run(folder, plan, read_records(folder))


def require_torch() -> None:
    """Say what to install when what ``run`` needs is not there.

    Raises:
        PluginError: torch or accelerate is missing.
    """
    missing = [name for name in ("torch", "accelerate") if importlib.util.find_spec(name) is None]
    if missing:
        raise PluginError(f"Running needs {' and '.join(missing)}: pip install {' '.join(missing)}")


def _start_ranks(folder: Path, launch: dict[str, Any], *, quiet: bool) -> None:
    """Start the ranks through torchrun, which ends all of them when one fails."""
    num = launch["num_processes"]
    command: Sequence[str] = (
        *(sys.executable, "-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={num}"),
        *("-m", "matrixhub.run.worker", str(folder), *(["--quiet"] if quiet else [])),
    )
    # Without a share of the cores each, ranks on one CPU fight over all of them.
    threads = max(1, (os.cpu_count() or 1) // num)
    environment = {"OMP_NUM_THREADS": str(threads), **os.environ}
    with (folder / "ranks.log").open("w") as log:
        code = subprocess.run(command, check=False, env=environment, stdout=log, stderr=None).returncode
    if code:
        raise TrainingError(_what_failed(folder, code))


def _what_failed(folder: Path, code: int) -> str:
    path = folder / ERROR
    if path.exists():
        error = json.loads(path.read_text())
        return f"Rank {error['rank']} failed: {error['message']}"
    return f"The ranks ended with code {code}; see {folder / 'ranks.log'}."
