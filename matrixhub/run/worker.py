"""One process of a run, by torchrun (``-m matrixhub.run.worker RUN_FOLDER [--quiet]``) or in process."""

import atexit
import json
import os
import sys
from pathlib import Path

import torch.distributed
from accelerate import PartialState
from accelerate.utils import broadcast_object_list

from matrixhub.plan import Plan
from matrixhub.run.executor import Executor
from matrixhub.run.launch import Run
from matrixhub.run.session import open_session

ERROR = "error.json"


def work(folder: Path, *, quiet: bool = False) -> None:
    """Read the plan of a run folder and execute it; the main process writes the records there."""
    plan = Plan.from_dict(json.loads((folder / "plan.json").read_text()))
    session = open_session(plan, folder, quiet=quiet)
    executor, run = Executor(session), Run(folder, plan, [])
    session.callbacks.tell("on_run_start", run)
    try:
        executor.run()
    finally:
        session.callbacks.tell("on_run_end", run, executor.records)
    # Now every record is on disk, for whichever rank reads them.
    session.accelerator.wait_for_everyone()


def lead(folder: Path, *, quiet: bool = False) -> None:
    """As rank 0 of ``torchrun`` or ``accelerate launch``: tell the others where the plan is, and work."""
    _share(str(folder))
    work(folder, quiet=quiet)


def follow() -> Path:
    """As any other rank: learn where the plan is, and work. It never reads the command line."""
    folder = Path(_share(""))
    work(folder, quiet=True)
    return folder


def leave() -> None:
    """End the process group: its threads must not outlive the interpreter."""
    if torch.distributed.is_initialized():
        torch.distributed.destroy_process_group()


def _share(text: str) -> str:
    if not torch.distributed.is_initialized():
        # Not sooner: a script may start one run after another.
        atexit.register(leave)
    PartialState(cpu=not torch.accelerator.is_available())
    (shared,) = broadcast_object_list([text], from_process=0)
    return str(shared)


def main() -> None:
    """Entry of a rank: what ends it early is left in the run folder for the parent to tell."""
    folder = Path(sys.argv[1])
    try:
        work(folder, quiet="--quiet" in sys.argv[2:])
    except Exception as error:
        rank = int(os.environ.get("RANK", "0"))
        message = {"rank": rank, "message": f"{type(error).__name__}: {error}"}
        if not (folder / ERROR).exists():
            (folder / ERROR).write_text(json.dumps(message))
        raise
    finally:
        leave()


if __name__ == "__main__":
    main()
