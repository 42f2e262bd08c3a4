"""One process of a run: ``python -m matrixhub.run.worker RUN_FOLDER``, started by torchrun or in process."""

import json
import os
import sys
from pathlib import Path

from matrixhub.plan import Plan
from matrixhub.run.executor import Executor
from matrixhub.run.session import open_session

ERROR = "error.json"


def work(folder: Path, *, quiet: bool = False) -> None:
    """Read the plan of a run folder and execute it; the main process writes the records there."""
    plan = Plan.from_dict(json.loads((folder / "plan.json").read_text()))
    session = open_session(plan, folder, quiet=quiet)
    Executor(session).run()


def main() -> None:
    """Entry of a rank: what ends it early is left in the run folder for the parent to tell."""
    folder = Path(sys.argv[1])
    try:
        work(folder)
    except Exception as error:
        rank = int(os.environ.get("RANK", "0"))
        message = {"rank": rank, "message": f"{type(error).__name__}: {error}"}
        if not (folder / ERROR).exists():
            (folder / ERROR).write_text(json.dumps(message))
        raise
    finally:
        import torch.distributed

        if torch.distributed.is_initialized():
            torch.distributed.destroy_process_group()


if __name__ == "__main__":
    main()
