"""A hub and jobs made by hand: planning is pure, so nothing needs to be installed or composed."""

import copy
from dataclasses import dataclass, field
from typing import Any

from matrixhub.config.compose import Job
from matrixhub.plugins import Hub
from matrixhub.registry import Component
from matrixhub.types import TASKS


@dataclass
class Rows:
    path: str = "???"
    limit: int | None = None


@dataclass
class Encode:
    dim: int = 8
    layers: list[int] = field(default_factory=lambda: [1, 2])


@dataclass
class Nothing:
    pass


def component(
    kind: str, name: str, config: type, consumes: str = "", produces: tuple[str, ...] = ()
) -> Component:
    reads = (consumes,) if consumes else ()
    return Component(kind, f"acme.{name}", "nowhere:at_all", config, reads, produces, "acme-hub", "2.1")


def make_hub(*, version: str = "2.1") -> Hub:
    hub = Hub()
    for each in (
        component("source", "rows", Rows),
        component("encoder", "words", Encode, "text", ("pooled", "tokens", "layers")),
        component("encoder", "short", Encode, "text", ("pooled",)),
        component("encoder", "pixels", Encode, "image", ("pooled",)),
        component("head", "line", Nothing, "pooled", TASKS[:3]),
        component("head", "deep", Encode, "", TASKS),
        component("fusion", "side", Nothing),
        component("generator", "pen", Encode),
        component("transform", "clean", Rows),
        component("transform", "once", Nothing),
        component("callback", "bell", Rows),
        component("callback", "plot", Nothing),
    ):
        hub.registry.add(Component(**{**{k: getattr(each, k) for k in each.__slots__}, "version": version}))
    return hub


TRAINER = {
    "train_encoder": False, "epochs": 5, "batch_size": 8, "accumulation": 1, "lr": 1e-3, "encoder_lr": None,
    "weight_decay": 0.0, "schedule": "cosine", "warmup": 0.1, "clip": 1.0, "monitor": "loss", "patience": 2,
    "seed": 0,
}  # fmt: skip

CONFIG: dict[str, Any] = {
    "product": {
        "name": "mail",
        "source": {"name": "acme.rows", "path": "mail.csv"},
        "transform": {},
        "inputs": {"body": {"column": "body", "modality": "text"}},
        "outputs": {
            "topic": {
                "task": "classification", "target": "topic", "classes": None, "separator": "|", "weight": 1.0,
                "prompt": None,
            }
        },
        "split": {"column": None, "group": None, "stratify": False, "fractions": [0.7, 0.1, 0.2], "seed": 0},
    },
    "encoder": {"text": {"name": "acme.words"}, "image": {"name": "acme.pixels"}},
    "fusion": {"name": "acme.side"},
    "head": {"name": "acme.deep"},
    "generator": {"name": "acme.pen"},
    "generate": {
        "max_new_tokens": 8, "stop": [], "temperature": 0.0, "top_p": 1.0, "seed": 0, "batch_size": 4,
    },
    "trainer": TRAINER,
    "launch": {"num_processes": 1, "mixed_precision": "no", "cpu": True, "timeout": 60, "trackers": []},
    "encode": {"precision": "auto", "probe": True},
    "callback": {},
    "baseline": True,
    "output_dir": "runs",
    "cache_dir": None,
    "cache_limit_gb": None,
}  # fmt: skip


def make_job(**changes: Any) -> Job:
    """A job whose values at dotted keys (``trainer__lr`` for ``trainer.lr``) are changed."""
    config = copy.deepcopy(CONFIG)
    for dotted, value in changes.items():
        *parents, last = dotted.split("__")
        node = config
        for parent in parents:
            node = node[parent]
        node[last] = value
    choices = {f"encoder/{m}": o["name"].rpartition(".")[2] for m, o in config["encoder"].items() if o}
    choices["head"] = config["head"]["name"].rpartition(".")[2] if config["head"] else ""
    return Job(config, choices, tuple(f"{k.replace('__', '.')}={v}" for k, v in changes.items()))
