"""The check on two processes, which is slow: it starts them."""

import json
import os
import subprocess
import sys
from pathlib import Path

from matrixhub.testing.check import check, fail, skip
from matrixhub.testing.checks.module import LEARNING
from matrixhub.testing.checks.plugin import child_environment
from matrixhub.testing.subject import Subject

SECONDS = 180


@check(*LEARNING, needs=("answers", "gradients_reach_parameters"), slow=True)
def two_ranks_agree(subject: Subject) -> None:
    """One optimizer step of two processes (gloo, on the CPU), each on rows of its own, leaves both with the
    same parameters, other than before.

    Mend: make modules in __init__, not in forward; use every trainable parameter in every step.
    """
    if not any(parameter.requires_grad for parameter in subject.built.parameters()):
        skip("it has nothing to train")
    given = {
        "kind": subject.kind, "name": subject.component.name, "task": subject.task,
        "options": subject.options, "rows": subject.rows,
    }  # fmt: skip
    asked = Path(subject.folder, "two_ranks.json")
    asked.write_text(json.dumps(given), "utf-8")
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]
    try:
        done = subprocess.run(
            [*command, "-m", "matrixhub.testing.rank", str(asked)],
            env={**child_environment(), "OMP_NUM_THREADS": os.environ.get("OMP_NUM_THREADS", "1")},
            capture_output=True, text=True, check=False, timeout=SECONDS,
        )  # fmt: skip
    except subprocess.TimeoutExpired:
        fail(f"two processes have not finished a step after {SECONDS} s: one waits for the other")
    told = [asked.with_suffix(f".{rank}") for rank in (0, 1)]
    if done.returncode or not all(path.is_file() for path in told):
        fail(f"two processes cannot make a step: {_cause(done.stderr)}")
    first, second = (json.loads(path.read_text("utf-8")) for path in told)
    if apart := [name for name in first["after"] if first["after"][name] != second["after"][name]]:
        fail(f"after one step {apart[0]} differs between the two processes")
    if first["after"] == first["before"]:
        fail("one step changed nothing")


def _cause(stderr: str) -> str:
    """The first line that names an error, or else the last line."""
    lines = [line.strip() for line in stderr.splitlines() if line.strip()]
    errors = [line for line in lines if "Error: " in line and "ChildFailedError" not in line]
    return (errors or lines[-1:] or ["no message"])[0][:300]
