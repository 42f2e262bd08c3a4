"""What all stages of one run share: the accelerator, the run folder, encoders at hand, the progress line."""

import contextlib
import os
import tempfile
import time
from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any, Protocol, TypeVar

import torch
from accelerate import Accelerator
from accelerate.state import AcceleratorState
from accelerate.utils import InitProcessGroupKwargs
from rich.console import Console
from rich.markup import escape
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from torch import nn

from matrixhub.artifacts.digests import state_digest
from matrixhub.artifacts.folder import sha256_of
from matrixhub.data.cache import default_cache_dir
from matrixhub.data.store import FeatureStore
from matrixhub.plan import Plan
from matrixhub.plan.cell import digest
from matrixhub.protocols import SavesAssets
from matrixhub.run.callbacks import Callbacks
from matrixhub.run.model import build
from matrixhub.run.ranks import together

T = TypeVar("T")

ENCODERS_AT_HAND = 2
"""Encoders kept in memory; the next one takes the place of the one used longest ago."""

SECONDS_BETWEEN_UPDATES = 0.1
"""Of the progress line, so that neither drawing nor reading the loss slows the loop down."""


class Advance(Protocol):
    """Tells a progress line how much more is done."""

    def __call__(self, count: int, loss: Any = None) -> None: ...


@dataclass(slots=True)
class Loaded:
    """An encoder in memory, frozen.

    Attributes:
        module: in eval mode, on the accelerator's device.
        digest: of its weights and of what else it is built from: processor, tokenizer, config.
    """

    module: Any
    digest: str


@dataclass(slots=True)
class Session:
    """One process of one run.

    Attributes:
        plan: what is done.
        folder: the run folder; only the main process writes there.
        accelerator: of this process.
        console: for progress; stderr.
        store: of features.
        callbacks: who is told what happens; none on other processes than the main one.
        encoded: what each encode stage did, by its key: how many rows were not stored yet, in how many
            seconds, and how the encoder ran.
    """

    plan: Plan
    folder: Path
    accelerator: Accelerator
    console: Console
    store: FeatureStore
    callbacks: Callbacks = field(default_factory=Callbacks)
    encoded: dict[str, dict[str, Any]] = field(default_factory=dict)
    _encoders: "OrderedDict[str, Loaded]" = field(default_factory=OrderedDict)
    _generator: dict[str, nn.Module] = field(default_factory=dict)

    @property
    def is_main(self) -> bool:
        """Whether this process writes and speaks."""
        return bool(self.accelerator.is_main_process)

    def encoder(self, options: Mapping[str, Any]) -> Loaded:
        """The encoder with these options, frozen; loaded once for the stages that follow each other."""
        key = digest(options)
        if key not in self._encoders:
            module = self._loaded("encoder", options)
            self._encoders[key] = Loaded(module, content_digest(module))
            if len(self._encoders) > ENCODERS_AT_HAND:
                self._encoders.popitem(last=False)
        self._encoders.move_to_end(key)
        return self._encoders[key]

    def generator(self, options: Mapping[str, Any]) -> Any:
        """The generator with these options, in eval mode; kept until another one is asked for."""
        key = digest(options)
        if key not in self._generator:
            # Encoders have done their part by then, and generators are large.
            self._encoders.clear()
            self._generator.clear()
            self._generator[key] = self._loaded("generator", options)
        return self._generator[key]

    def _loaded(self, kind: str, options: Mapping[str, Any]) -> nn.Module:
        told = f"loading {options.get('checkpoint') or options['name']}"
        is_watched = self.is_main and self.console.is_terminal
        with self.console.status(escape(told)) if is_watched else contextlib.nullcontext():
            module: nn.Module = build(kind, options)
            return module.requires_grad_(False).eval().to(self.accelerator.device)

    def together(self, work: Callable[[], T]) -> T:
        """Do a part of the work without collectives; when it fails on one rank, it fails on all.

        Raises:
            MatrixHubError: as ``ranks.together``.
        """
        return together(self.accelerator, work)

    def on_main(self, work: Callable[[], None]) -> None:
        """Do it on the main process only; when it fails there, it fails on all."""
        together(self.accelerator, work if self.is_main else lambda: None)

    @contextlib.contextmanager
    def progress(self, label: str, total: int, unit: str) -> Iterator[Advance]:
        """A line with rate, loss and time left on a terminal; silence elsewhere.

        Yields:
            ``advance(count, loss=None)``; the loss may be a tensor, and is read a few times a second only.
        """
        if not (self.is_main and self.console.is_terminal and total):
            yield lambda count, loss=None: None
            return
        columns = (
            TextColumn("{task.description}", markup=False),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[rate]}"),
            TextColumn("{task.fields[loss]}"),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
        )
        started = shown = time.perf_counter()
        done = 0
        with Progress(*columns, console=self.console, transient=True) as bar:
            line = bar.add_task(label, total=total, loss="", rate="")

            def advance(count: int, loss: Any = None) -> None:
                nonlocal done, shown
                done += count
                now = time.perf_counter()
                if now - shown < SECONDS_BETWEEN_UPDATES and done < total:
                    return
                shown = now
                rate = f"{done / max(now - started, 1e-6):,.0f} {unit}/s"
                note = {} if loss is None else {"loss": f"loss {float(loss):.4f}"}
                bar.update(line, completed=done, rate=rate, **note)  # type: ignore[arg-type]

            yield advance

    def say(self, text: str) -> None:
        """A line of progress from the main process."""
        if self.is_main:
            self.console.print(text, highlight=False, markup=False, soft_wrap=True)


def content_digest(module: nn.Module) -> str:
    """Hash of an encoder's weights and of the files that it would save beside them."""
    files: dict[str, str] = {}
    if isinstance(module, SavesAssets):
        with tempfile.TemporaryDirectory() as folder:
            module.save_assets(Path(folder))
            found = sorted(path for path in Path(folder).rglob("*") if path.is_file())
            files = {path.relative_to(folder).as_posix(): sha256_of(path) for path in found}
    return digest([state_digest(module.state_dict()), files])


def open_session(plan: Plan, folder: Path, *, quiet: bool = False) -> Session:
    """Join (or be) the process group that the plan's launch config asks for."""
    # Fast tokenizers warn when a process that used them forks; ours are used from threads.
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "true")
    launch = plan.launch
    # Accelerate keeps the precision of the first run of a process, and refuses another one.
    AcceleratorState._reset_state()
    accelerator = Accelerator(
        # Ranks on a machine without an accelerator find each other only when told that they are on the CPU.
        cpu=launch["cpu"] or not torch.accelerator.is_available(),
        mixed_precision=launch["mixed_precision"],
        kwargs_handlers=[InitProcessGroupKwargs(timeout=timedelta(seconds=launch["timeout"]))],
    )
    cache = Path(plan.cache_dir) if plan.cache_dir else default_cache_dir()
    max_bytes = None if plan.cache_limit_gb is None else plan.cache_limit_gb * 1e9
    console = Console(stderr=True, quiet=quiet)
    if torch.cuda.is_available():
        torch.set_float32_matmul_precision("high")
    callbacks = Callbacks(plan.callbacks if accelerator.is_main_process else ())
    return Session(plan, folder, accelerator, console, FeatureStore(cache, max_bytes), callbacks)
