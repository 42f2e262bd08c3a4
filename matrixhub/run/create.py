"""Components as plain modules, for people who write their own loop; encoders with a call for many values."""

import dataclasses
import functools
from collections.abc import Sequence
from typing import Any

import torch
from torch import nn

from matrixhub.artifacts.digests import state_digest
from matrixhub.config.schema import CHOICES
from matrixhub.data.cache import default_cache_dir
from matrixhub.errors import ConfigError, unknown_name
from matrixhub.plan.cell import digest
from matrixhub.plugins import hub
from matrixhub.run.encode import encode_rows, joined
from matrixhub.run.model import build
from matrixhub.run.probe import setting_for
from matrixhub.run.setting import Setting, as_built, running
from matrixhub.types import Features

SUPPLIED = {"fusion": ("dims",), "head": ("dim", "target")}
"""What the core gives a factory beside its options; here the caller does."""


def create_component(kind: str, name: str, **options: Any) -> Any:
    """Build a component; see ``matrixhub.create``."""
    component = hub().component(kind, name)
    fields = {f.name for f in dataclasses.fields(component.config)}
    supplied = SUPPLIED.get(kind, ()) + (
        ("dim",) if kind == "fusion" and "prefix" in component.produces else ()
    )
    for key in options:
        if key not in fields and key not in supplied:
            raise ConfigError(unknown_name(f"option of {component.name}", key, fields.union(supplied)))
    given = {**dataclasses.asdict(component.config()), **options}
    for key in (*fields, *supplied):
        if given.get(key, "???") == "???" and key in (*supplied, *given):
            raise ConfigError(f"{component.name} needs {key}=…; see: matrixhub show {component.name}")
    module = build(kind, {"name": component.name, **given})
    if kind == "encoder" and not hasattr(module, "encode"):
        module.encode = functools.partial(encode, module)
    return module


def encode(
    encoder: nn.Module,
    values: Sequence[Any] | Any,
    *,
    level: str = "pooled",
    precision: str = "float32",
) -> Features:
    """Features of one value or of many, in their order: ``mh.create("encoder", ...).encode(values)``.

    Args:
        encoder: an encoder module.
        values: one value, or a list of them.
        level: ``"pooled"``, or ``"tokens"`` for token features beside the pooled ones.
        precision: float32, bfloat16, float16, autocast; or auto, the fastest whose features agree with
            float32 on a sample of the values. It is searched for once, if there are values enough, and
            remembered in the cache folder.

    Returns:
        On the CPU, float32: pooled features (N, D); with ``level="tokens"`` token features (N, T, D) and
        their mask (N, T) too, when the encoder gives them.

    Raises:
        ConfigError: an unknown level or precision.
        DataError: a value cannot be processed; names the row.
    """
    _one_of("level", level, ("pooled", "tokens"))
    _one_of("precision", precision, CHOICES["encode.precision"])
    many = values if isinstance(values, list) else [values]
    module: Any = encoder
    if not many:
        return Features(torch.zeros(0, module.dim))
    was_training = encoder.training
    encoder.eval()
    device = next((p.device for p in encoder.parameters()), torch.device("cpu"))
    try:
        setting = _setting(module, many, precision, device)
        with running(module, setting):
            parts = list(encode_rows(module, many, device=device, budget=setting.budget, level=level))
    finally:
        encoder.train(was_training)
    back = torch.argsort(torch.tensor([position for part in parts for position in part.positions]))
    pooled_ND = torch.cat([part.features.pooled_BD for part in parts])[back]
    tokens = [t for part in parts if (t := part.features.tokens_BTD) is not None]
    masks = [m for part in parts if (m := part.features.mask_BT) is not None]
    if not tokens or not masks:
        return Features(pooled_ND)
    return Features(pooled_ND, joined(tokens)[back], joined(masks)[back])


def _setting(encoder: Any, values: list[Any], precision: str, device: torch.device) -> Setting:
    if precision == "float32":
        return as_built(encoder)
    return setting_for(
        encoder,
        lambda rows: [values[row] for row in rows],
        num_rows=len(values),
        num_missing=lambda precision: len(values),
        key=digest([type(encoder).__qualname__, state_digest(encoder.state_dict())]),
        device=device,
        root=default_cache_dir(),
        options={"precision": precision, "probe": True},
    )


def _one_of(name: str, value: str, allowed: Sequence[str]) -> None:
    if value not in allowed:
        raise ConfigError(unknown_name(name, value, allowed))
