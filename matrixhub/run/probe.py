"""A short search for the fastest safe way to run an encoder on this machine, made once and remembered.

Which precision, batch and memory layout is fastest differs several times by encoder and processor. Each
is timed on real rows; one whose features stray from those of float32 is never used.
"""

import functools
import hashlib
import json
import math
import os
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import nn

from matrixhub.errors import ConfigError
from matrixhub.plan.cell import digest
from matrixhub.run.sample import Sample
from matrixhub.run.setting import Setting, as_built

FEW = 64
"""Rows that are not worth a look at the clock."""

SHARE, SHORTEST, LONGEST = 0.1, 3.0, 20.0
"""A search may take this share of what encoding in float32 would, but no more than ``LONGEST`` seconds; with
less than ``SHORTEST`` there is none: no more than one or two ways could be timed."""

PRECISION_GAIN, GAIN = 1.1, 1.03
"""How many times as fast a change must be to be worth it: less may be chance, or not worth the rounding."""


class Read(Protocol):
    """Values of the rows at these positions."""

    def __call__(self, rows: Any) -> Sequence[Any]: ...


def setting_for(
    encoder: Any,
    read: Read,
    *,
    num_rows: int,
    num_missing: Callable[[str], int],
    key: str,
    device: torch.device,
    root: Path,
    options: Mapping[str, Any],
) -> Setting:
    """How to encode these rows: searched for, remembered, or as the encoder was built.

    Args:
        encoder: in eval mode, on ``device``.
        read: gives the values of rows.
        num_rows: how many rows there are.
        num_missing: of these rows, how many have no stored features of that precision.
        key: of the encoder: its options, code and weights.
        device: where it is.
        root: of the feature store; what was found is remembered there.
        options: as in ``EncodeConfig``.

    Raises:
        ConfigError: the encoder cannot run in the precision that was asked for.
        DataError: a row of the sample cannot be processed; names the row.
    """
    wanted = options["precision"]
    built = as_built(encoder, "float32" if wanted == "auto" else wanted)
    if num_rows == 0:
        return built
    sample = Sample(encoder, read, num_rows=num_rows, device=device)
    if built.precision != "float32":
        _require(sample, built)
    if not options["probe"] or num_rows < FEW:
        return built
    memory = _Memory.read(Path(root) / "settings" / f"{digest([key, wanted, _machine(device)])}.json")
    if sample.digest not in memory.samples:
        if 2 * num_missing(built.precision) < num_rows:
            # A source that has grown: in another precision its old rows would be encoded again, too.
            return built
        _decide(memory, sample, built, precisions=_precisions(encoder, device) if wanted == "auto" else ())
    return memory.setting if memory.setting and memory.samples[sample.digest] else built


def search(
    sample: Sample, built: Setting, *, precisions: Sequence[str], pace: float, seconds: float
) -> Setting:
    """The fastest setting found in that time whose features agree with those of ``built``.

    ``pace`` is what ``built`` takes for a row, in seconds.

    Layout of the weights, then precision, then batch size: one after the other, for they hardly depend on
    each other, and each try costs as much as some batches.
    """
    race = _Race(sample, built, built, pace, until=time.perf_counter() + seconds)
    if sample.has_convolutions:
        race.offer(replace(built, channels_last=not built.channels_last))
    for precision in precisions:
        race.offer(replace(race.best, precision=precision), gain=PRECISION_GAIN)
    for factor in (2, 0.5):
        while race.offer(replace(race.best, budget=math.ceil(race.best.budget * factor))):
            pass
        if race.best.budget != built.budget:
            break
    return race.best


@dataclass(slots=True)
class _Race:
    """The best setting so far, its seconds a row, and when the race ends."""

    sample: Sample
    built: Setting
    best: Setting
    pace: float
    until: float

    def offer(self, setting: Setting, *, gain: float = GAIN) -> bool:
        """Take it if it is safe and that many times as fast, and there is time left to see."""
        if time.perf_counter() > self.until or setting == self.best:
            return False
        pace = self.sample.pace(setting, than=self.pace / gain)
        if pace * gain > self.pace:
            return False
        if setting.precision != self.built.precision and not self.sample.agrees(setting, self.built):
            return False
        self.best, self.pace = setting, pace
        return True


@dataclass(slots=True)
class _Memory:
    """What was found for an encoder on a machine.

    Attributes:
        file: that keeps it.
        setting: the best; None before there were rows enough to search on.
        samples: by digest, whether it holds for these rows. Others go on as they began, for features of
            another precision would be computed again.
    """

    file: Path
    setting: Setting | None = None
    samples: dict[str, bool] = field(default_factory=dict)

    @classmethod
    def read(cls, file: Path) -> "_Memory":
        try:
            data = json.loads(file.read_text("utf-8"))
            return cls(file, data["setting"] and Setting(**data["setting"]), dict(data["samples"]))
        except (OSError, ValueError, TypeError, KeyError):  # not there, or not ours: found anew
            return cls(file)

    def write(self) -> None:
        self.file.parent.mkdir(parents=True, exist_ok=True)
        scratch = self.file.with_suffix(f".{os.getpid()}")
        setting = self.setting and self.setting.to_dict()
        scratch.write_text(json.dumps({"setting": setting, "samples": self.samples}, indent=1), "utf-8")
        scratch.replace(self.file)


def _decide(memory: _Memory, sample: Sample, built: Setting, *, precisions: Sequence[str]) -> None:
    if memory.setting is None:
        seconds = min(LONGEST, SHARE * sample.rough_pace(built) * sample.num_rows)
        if seconds >= SHORTEST:
            pace = sample.pace(built)
            memory.setting = search(sample, built, precisions=precisions, pace=pace, seconds=seconds)
        memory.samples[sample.digest] = memory.setting is not None
    else:
        same = memory.setting.precision == built.precision
        memory.samples[sample.digest] = same or sample.agrees(memory.setting, built)
    memory.write()


def _precisions(encoder: nn.Module, device: torch.device) -> tuple[str, ...]:
    """Worth trying, for weights in float32."""
    if any(p.is_floating_point() and p.dtype != torch.float32 for p in encoder.parameters()):
        return ()
    return ("bfloat16", "float16", "autocast") if device.type == "cpu" else ("bfloat16", "float16")


def _require(sample: Sample, setting: Setting) -> None:
    if error := sample.failure(setting):
        raise ConfigError(
            f"This encoder cannot run in {setting.precision} ({error}). Use encode.precision=auto or float32."
        )


def _machine(device: torch.device) -> list[Any]:
    """What the speed of an encoder depends on beside itself."""
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else _cpu_name()
    return [device.type, name, torch.get_num_threads(), torch.__version__]


@functools.cache
def _cpu_name() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text("utf-8").splitlines()
    except OSError:
        lines = []
    known = [line for line in lines if line.startswith(("model", "flags", "Features"))]
    return hashlib.sha256("\n".join(sorted(set(known))).encode()).hexdigest()
