"""One fully resolved product, and the hash that names it."""

import dataclasses
import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from matrixhub.config.compose import Job
from matrixhub.errors import ConfigError, unknown_name
from matrixhub.plan.identity import Look, Options, State, unseen
from matrixhub.plugins import Hub
from matrixhub.registry import Component
from matrixhub.types import GENERATION

_NAMING = ("encoder", "head", "generator")
"""Kinds whose chosen options name a cell, beside its product."""


@dataclass(frozen=True, slots=True)
class Cell:
    """What is trained and scored as one.

    Attributes:
        id: hash of everything below but ``name``, ``choices`` and ``overrides``, and of the
            precision that it trains and encodes in.
        name: for people: product, encoders, head.
        product: name, inputs, outputs and split; its source is apart.
        source: component options of the rows.
        encoder: component options by modality, of the inputs that are encoded.
        fusion: component options; None with a single input, or a generator that reads no prefix.
        head: component options; None with a generator.
        trainer: as in ``TrainerConfig``; empty where nothing is trained.
        baseline: whether to score the simplest alternatives too.
        choices: the Hydra option chosen in each group, for labels.
        overrides: what was typed for it.
        distributions: version of each installed package that it uses.
        state: what its parts depend on beside their options: code, rows, local weights; see ``identity``.
        transform: component options of what the rows go through, in order.
        generator: component options of what writes its answers; None where heads give them.
        generate: as in ``GenerateConfig``; None without a generator.
        whole: modalities of which a fusion reads tokens too, beside pooled features.
        joint: the group that it trains in, a hash of its members and part of its id; None trains it alone.
    """

    id: str
    name: str
    product: dict[str, Any]
    source: Options
    encoder: dict[str, Options]
    fusion: Options | None
    head: Options | None
    trainer: dict[str, Any]
    baseline: bool
    choices: dict[str, str]
    overrides: tuple[str, ...]
    distributions: dict[str, str]
    state: dict[str, State] = field(default_factory=dict)
    transform: list[Options] = field(default_factory=list)
    generator: Options | None = None
    generate: dict[str, Any] | None = None
    whole: list[str] = field(default_factory=list)
    joint: str | None = None

    def to_dict(self) -> dict[str, Any]:
        return dataclasses.asdict(self)

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> "Cell":
        return cls(**{**data, "overrides": tuple(data["overrides"])})

    @property
    def level(self) -> str:
        """The feature level its heads read."""
        tasks = (output["task"] for output in self.product["outputs"].values())
        return "tokens" if "token_classification" in tasks else "pooled"

    @property
    def encoded(self) -> list[str]:
        """Names of the inputs that encoders read."""
        inputs = self.product["inputs"]
        return prefix_inputs(inputs) if self.generator else list(inputs)

    @property
    def training(self) -> str:
        """As of ``way_of_training``; of a cell that trains."""
        return way_of_training(self.trainer)

    @property
    def encoder_label(self) -> str:
        """The encoders, or the generator, in a word or two."""
        if self.generator:
            return self.choices.get("generator") or str(self.generator["name"])
        return "+".join(self.choices.get(f"encoder/{m}") or str(o["name"]) for m, o in self.encoder.items())

    @property
    def head_label(self) -> str:
        """The head in a word; empty without one."""
        return self.choices.get("head") or str(self.head["name"]) if self.head else ""

    def component_options(self) -> list[tuple[str, Options]]:
        """Every (kind, options) it is made of."""
        kinds = ("source", "transform", "encoder", "fusion", "head", "generator")
        parts = {kind: getattr(self, kind) for kind in kinds}
        return [(group.partition("/")[0], options) for group, options in _used(parts).items()]


def digest(value: Any) -> str:
    """A short stable hash of plain data."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:16]


def resolve(job: Job, hub: Hub, look: Look = unseen) -> Cell:
    """Narrow a job to what its product uses, and name it by content.

    Raises:
        ConfigError: a part is missing, a field is not filled in, an option is unknown.
        MatrixHubError: what ``look`` finds missing, such as the source's file.
    """
    config = job.config
    product = dict(config["product"])
    source, transforms = product.pop("source"), product.pop("transform")
    _require_filled(config["product"], "product")
    if not product["inputs"] or not product["outputs"]:
        raise ConfigError(
            f"Product '{product['name']}' needs at least one of product.inputs and of product.outputs."
        )
    generates = any(output["task"] == GENERATION for output in product["outputs"].values())
    parts: dict[str, Any] = {
        "product": product,
        "source": _component(hub, "source", source, "product/source"),
        "transform": components(hub, "transform", transforms, "product/transform"),
        **(_generating if generates else _learning)(config, product, hub),
        "baseline": config["baseline"],
    }
    used = {group: (_found(hub, group, o), o) for group, o in _used(parts).items()}
    distributions = {component.distribution: component.version for component, _ in used.values()}
    state = {group: look(component, options) for group, (component, options) in used.items()}
    choices = {
        group: job.choices[group]
        for group in used
        if group.partition("/")[0] in _NAMING and job.choices.get(group)
    }
    precision = [config["launch"]["mixed_precision"], config["encode"]["precision"]]
    return Cell(
        id=digest({**parts, "distributions": distributions, "state": state, "precision": precision}),
        name="-".join([product["name"], *(option.replace("/", ".") for option in choices.values())]),
        choices=choices,
        overrides=job.overrides,
        distributions=distributions,
        state=state,
        **parts,
    )


def _learning(config: Mapping[str, Any], product: Mapping[str, Any], hub: Hub) -> dict[str, Any]:
    """Parts of a cell whose heads are trained."""
    modalities = dict.fromkeys(i["modality"] for i in product["inputs"].values())
    several = len(product["inputs"]) > 1
    encoder = {m: _encoder(config, m, hub) for m in modalities}
    fusion = _component(hub, "fusion", config["fusion"], "fusion") if several else None
    # Of one output there is nothing to balance: sweeping over it makes no new cell.
    balances = len(product["outputs"]) > 1 or config["trainer"].get("joint") is not None
    balance = {} if balances else {"balance": "fixed"}
    return {
        "encoder": encoder,
        "fusion": fusion,
        "whole": [m for m, options in encoder.items() if _gives_tokens(hub, options, fusion)],
        "head": _component(hub, "head", config["head"], "head"),
        "trainer": {**narrowed_trainer(config["trainer"]), **balance},
        "generator": None,
        "generate": None,
    }


def _generating(config: Mapping[str, Any], product: Mapping[str, Any], hub: Hub) -> dict[str, Any]:
    """Parts of a cell whose answers a generator writes."""
    inputs = product["inputs"]
    prefix = prefix_inputs(inputs)
    trains = prefix or way_of_training(config["trainer"]) != "frozen"
    return {
        "encoder": {
            m: _encoder(config, m, hub) for m in dict.fromkeys(inputs[n]["modality"] for n in prefix)
        },
        "fusion": _component(hub, "fusion", config["fusion"], "fusion") if prefix else None,
        "head": None,
        "trainer": {**narrowed_trainer(config["trainer"]), **_by_length(config)} if trains else {},
        "generator": _component(hub, "generator", config["generator"], "generator"),
        "generate": dict(config["generate"]),
    }


def _by_length(config: Mapping[str, Any]) -> dict[str, Any]:
    # A frozen generator reads each row in each epoch all the same.
    return {"group_by_length": config["trainer"].get("group_by_length")}


def prefix_inputs(inputs: Mapping[str, Any]) -> list[str]:
    """Names of the inputs that a generator reads as an encoder's features; all others stand in its prompt."""
    return [name for name, one in inputs.items() if one["modality"] != "text" or one.get("prefix")]


def prompt_inputs(inputs: Mapping[str, Any]) -> dict[str, Any]:
    """Those that may stand in a generator's prompt."""
    return {name: one for name, one in inputs.items() if name not in prefix_inputs(inputs)}


def _gives_tokens(hub: Hub, encoder: Options, fusion: Options | None) -> bool:
    """Whether the encoder has tokens and the fusion reads them."""
    reads = fusion and "tokens" in hub.component("fusion", fusion["name"]).consumes
    return bool(reads) and "tokens" in hub.component("encoder", encoder["name"]).produces


def narrowed_trainer(options: Mapping[str, Any]) -> dict[str, Any]:
    """Without what its way of training leaves unused, so that sweeping over it makes no new cell."""
    training = way_of_training(options)
    unused = {"encoder_lr", "group_by_length"} if training == "frozen" else set()
    unused |= {"layers_budget_gb"} if training != "partial" else set()
    unused |= {"joint_temperature"} if options.get("joint") != "temperature" else set()
    return {key: None if key in unused else value for key, value in options.items()}


def way_of_training(trainer: Mapping[str, Any]) -> str:
    """What becomes of encoders: ``frozen``, ``partial``, ``lora`` or ``finetune``."""
    # Records and artifacts of earlier versions know fewer ways.
    if trainer["train_encoder"]:
        return "finetune"
    if trainer.get("trainable_layers") is not None:
        return "partial"
    return "lora" if trainer.get("lora") else "frozen"


def _encoder(config: Mapping[str, Any], modality: str, hub: Hub) -> Options:
    options = config["encoder"].get(modality)
    if not options:
        group = f"encoder/{modality}"
        known = hub.registry.group_names(group)
        if not known:
            readers = sorted({m for c in hub.registry.of_kind("encoder") for m in c.consumes})
            hint = (
                f"Installed encoders read {', '.join(readers)}."
                if readers
                else "Install matrixhub-text or matrixhub-vision."
            )
            raise ConfigError(unknown_name("modality", modality, readers, hint))
        raise ConfigError(
            f"No encoder reads {modality} yet: choose one with {group}=NAME. Registered: {', '.join(known)}."
        )
    return _component(hub, "encoder", options, f"encoder/{modality}")


def components(hub: Hub, kind: str, chosen: Mapping[str, Any], group: str) -> list[Options]:
    """As ``_component``, of each that was chosen in a group of several."""
    for name, options in chosen.items():
        if not isinstance(options, Mapping) or not options.get("name"):
            node = group.replace("/", ".")
            raise ConfigError(
                f"{node}.{name} is no {kind}: choose some with {group}=[NAME,NAME]; a preset of one begins "
                f"with the line '# @package {node}.NAME'."
            )
    return [_component(hub, kind, options, f"{group}/{name}") for name, options in chosen.items()]


def _component(hub: Hub, kind: str, options: Any, group: str) -> Options:
    """The options with the component's full name and every default filled in, checked by field."""
    if not options or not options.get("name"):
        raise ConfigError(f"No {kind} is chosen: type {group}=NAME. See: matrixhub list {kind}")
    component = hub.component(kind, options["name"])
    allowed = {f.name for f in dataclasses.fields(component.config)}
    for key in options:
        if key not in allowed and key != "name":
            raise ConfigError(unknown_name(f"option of {component.name}", key, allowed))
    prefix = group.replace("/", ".")
    _require_filled(options, prefix)
    return {**_defaults(component, prefix, options), **options, "name": component.name}


def _defaults(component: Component, prefix: str, given: Options) -> Options:
    defaults = dataclasses.asdict(component.config())
    _require_filled({k: v for k, v in defaults.items() if k not in given}, prefix)
    return defaults


def _require_filled(node: Any, path: str) -> None:
    if node == "???":
        raise ConfigError(f"{path} is not set: add {path}=VALUE.")
    if isinstance(node, dict):
        for key, value in node.items():
            _require_filled(value, f"{path}.{key}")


def _used(parts: Mapping[str, Any]) -> dict[str, Options]:
    """Options of every component by the group it is chosen in."""
    encoders = {f"encoder/{modality}": options for modality, options in parts["encoder"].items()}
    transforms = {f"transform/{i}": options for i, options in enumerate(parts["transform"])}
    single = {group: parts[group] for group in ("fusion", "head", "generator") if parts[group]}
    return {"source": parts["source"], **transforms, **encoders, **single}


def _found(hub: Hub, group: str, options: Options) -> Component:
    return hub.component(group.partition("/")[0], options["name"])
