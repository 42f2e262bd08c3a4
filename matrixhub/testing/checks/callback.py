"""Checks of callbacks: their methods are known, and a short run does not trouble them."""

from types import SimpleNamespace
from typing import Any

from matrixhub.errors import unknown_name
from matrixhub.protocols import Callback
from matrixhub.testing.check import check, fail
from matrixhub.testing.subject import Subject, told

CELL: dict[str, Any] = {
    "id": "0123456789abcdef", "product": {"name": "toy"}, "encoder": {"text": {"name": "text.transformer"}},
    "head": {"name": "heads.linear"}, "trainer": {"epochs": 2},
}  # fmt: skip
RECORD: dict[str, Any] = {
    "cell": "0123456789abcdef", "name": "toy linear", "product": "toy", "encoder": "transformer",
    "head": "linear", "overrides": [], "status": "done", "metrics": {"label": {"accuracy": 0.75}},
}  # fmt: skip
FAILED_RECORD = {name: value for name, value in RECORD.items() if name != "metrics"} | {
    "status": "failed", "error": "row 3: no text", "exit_code": 2,
}  # fmt: skip


@check("callback", needs=("builds",))
def callback_methods_are_known(subject: Subject) -> None:
    """It has at least one of the methods of ``matrixhub.Callback``, and none that begins with ``on_`` and is
    not one: it would never be called.

    Mend: compare the names of its methods with matrixhub.Callback.
    """
    known = [name for name in dir(Callback) if name.startswith("on_")]
    own = [name for name in dir(subject.built) if name.startswith("on_")]
    for name in own:
        if name not in known:
            fail(unknown_name("method", name, known))
    if not own:
        fail(f"it has none of {', '.join(known)}")


@check("callback", needs=("callback_methods_are_known",))
def survives_a_run(subject: Subject) -> None:
    """It bears a run of one cell that is done and one that fails, whose record has no metrics.

    Mend: read records with .get(), and expect ``status`` to be "failed" too.
    """
    run = SimpleNamespace(folder=subject.folder, records=[])
    for name, arguments in (
        ("on_run_start", (run,)),
        ("on_cell_start", (CELL,)),
        ("on_epoch_end", (CELL, {"epoch": 1, "train.loss": 0.7, "loss": 0.8, "label.accuracy": 0.75})),
        ("on_cell_end", (CELL, RECORD)),
        ("on_cell_end", (CELL, FAILED_RECORD)),
        ("on_run_end", (run, [RECORD, FAILED_RECORD])),
    ):
        method = getattr(subject.built, name, None)
        try:
            with subject.watched():
                _ = method(*arguments) if method else None
        except Exception as error:
            fail(f"{name} raises {told(error)}")
    if subject.seen.changed:
        fail(f"it changes {', '.join(subject.seen.changed)}")
