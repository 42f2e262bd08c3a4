"""What a pre-training is told: typed options, out of words ``KEY=VALUE`` and YAML. No torch here."""

import dataclasses
import difflib
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml  # type: ignore[import-untyped]
from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException

from matrixhub import MISSING, ConfigError

SIZES = {
    "tiny": (2, 128, 2, 2e-3),
    "mini": (4, 256, 4, 1e-3),
    "small": (4, 512, 8, 5e-4),
    "base": (12, 768, 12, 1e-4),
}
"""Layers, width, attention heads and peak learning rate; the sizes are those of Turc et al. (2019)."""
FURTHER_LR = 5e-5
"""Peak learning rate where a checkpoint is trained further."""
NEW_HEAD_LR = 1e-3
"""That of a new head over a checkpoint's encoder."""
IMAGES_LR = 1e-3
"""Peak learning rate of an image encoder from nothing."""
ENCODER = "vision.timm"
"""What reads images."""


@dataclass
class CorpusConfig:
    """Texts. Each document is on one side, training or held out, and so are all its copies."""

    path: Any = None
    """A file, a list of files or a glob: text (documents have blank lines between), csv, jsonl, parquet."""
    source: str | None = None
    """Rows of a source instead of files, by its name (demo.news)."""
    options: dict[str, Any] = field(default_factory=dict)
    """Options of that source (corpus.options.limit=1000)."""
    column: str = "text"
    """Column that holds one document a row; not for text files."""
    cut: bool = True
    """Cut lines into sentences; false takes every line for one sentence."""
    held_out: float = 0.05
    """Share of the documents that is only scored on."""
    seed: int = 0
    """Another one holds out other documents."""


@dataclass
class TokenizerConfig:
    """WordPiece, trained on the training documents; not used with init."""

    vocab_size: int = 8192
    """Most pieces."""
    lowercase: bool = True
    """Fold case and strip accents."""
    min_frequency: int = 2
    """How often a piece must have been seen."""


@dataclass
class ModelConfig:
    """Architecture; not used with init, but for dropout."""

    size: str = "mini"
    """tiny (2 layers, 128 wide), mini (4, 256), small (4, 512) or base (12, 768)."""
    layers: int | None = None
    """Another number of layers."""
    width: int | None = None
    """Another width."""
    heads: int | None = None
    """Another number of attention heads."""
    positions: str = "learned"
    """learned, as in BERT, or sinusoidal, as in Vaswani et al. (2017), which stay as they are."""
    dropout: float = 0.1
    """Share of numbers set to zero at random while training, in attention too."""
    spread: float | None = None
    """Standard deviation of random weights; null: BERT's 0.02 at its width, and more in a narrower one."""


@dataclass
class ObjectiveConfig:
    """What is asked of the model."""

    max_length: int = 128
    """Longest example in tokens, special ones included."""
    masked: float = 0.15
    """Share of tokens to be guessed: 80% of them are hidden, 10% changed, 10% left as they are."""
    whole_word: bool = False
    """Choose words, not their pieces."""
    next_sentence: bool | None = None
    """Pairs of texts, half of which follow each other, to be told apart; null: true without init."""
    short: float = 0.1
    """Share of examples that are made shorter, to see all lengths."""


@dataclass
class ImagesConfig:
    """Images instead of texts: hidden parts of them are to be guessed (SimMIM, Xie et al. 2022)."""

    path: str | None = None
    """A folder of images, with or without sub-folders."""
    source: str | None = None
    """Rows of a source instead of a folder, by its name (demo.textile)."""
    options: dict[str, Any] = field(default_factory=dict)
    """Options of that source (images.options.limit=1000)."""
    column: str = "image"
    """Column that holds the images."""
    held_out: float = 0.05
    """Share of the images that is only scored on."""
    seed: int = 0
    """Another one holds out other images."""
    model: str = "vit_tiny_patch16_224"
    """timm's name of a vision transformer."""
    size: int | None = None
    """Side of the image that it sees, in pixels; null: the model's own."""
    masked: float = 0.6
    """Share of the image that is hidden."""
    block: int = 32
    """Side of the squares that are hidden, in pixels: one patch, or several."""


@dataclass
class TrainerConfig:
    """AdamW with a linear warm-up."""

    steps: int = 10_000
    """Optimizer steps."""
    batch_size: int = 256
    """Examples of one step, over all processes."""
    accumulation: int = 1
    """Parts that each step is cut into, to save memory."""
    lr: float | None = None
    """Peak learning rate; null: that of the size, or 5e-5 with init."""
    head_lr: float | None = None
    """That of the head; null: lr, or 1e-3 where a checkpoint came without one."""
    warmup: float = 0.1
    """Share of the steps over which the learning rate rises."""
    schedule: str = "linear"
    """How it falls after that: linear, cosine or constant."""
    head_first: float = 0.0
    """Share of the steps, first of all, that train nothing but the head over the encoder."""
    weight_decay: float = 0.01
    """Not of biases and norms."""
    clip: float | None = 1.0
    """Most length of the gradient."""
    seed: int = 0
    """Of weights, pairs, masks and dropout."""
    mixed_precision: str = "no"
    """no or bf16."""
    cpu: bool = False
    """Leave an accelerator alone."""
    evaluate_every: int = 500
    """Steps between two looks at what is held out."""
    evaluate_examples: int = 2000
    """Most examples of a look."""
    checkpoint_every: int = 500
    """Steps that a kill can cost, at most."""


@dataclass
class LaunchConfig:
    """Where it runs."""

    num_processes: int = 1
    """Processes of this machine that share the work."""


@dataclass
class PretrainConfig:
    """All of it."""

    output: str = MISSING
    """Folder for the result; it must not exist."""
    init: str | None = None
    """Train this checkpoint further: a hub id, a folder, or package:<import name>/<path inside>."""
    corpus: CorpusConfig = field(default_factory=CorpusConfig)
    tokenizer: TokenizerConfig = field(default_factory=TokenizerConfig)
    model: ModelConfig = field(default_factory=ModelConfig)
    objective: ObjectiveConfig = field(default_factory=ObjectiveConfig)
    images: ImagesConfig = field(default_factory=ImagesConfig)
    trainer: TrainerConfig = field(default_factory=TrainerConfig)
    launch: LaunchConfig = field(default_factory=LaunchConfig)

    @property
    def pairs(self) -> bool:
        """Whether examples are pairs."""
        chosen = self.objective.next_sentence
        return self.init is None if chosen is None else chosen

    @property
    def lr(self) -> float:
        """Peak learning rate."""
        peak = IMAGES_LR if self.of_images else SIZES[self.model.size][3]
        return self.trainer.lr or (FURTHER_LR if self.init else peak)

    @property
    def of_images(self) -> bool:
        """Whether it learns from images."""
        return (self.images.path or self.images.source) is not None


SECTIONS = ("corpus", "tokenizer", "model", "objective", "images", "trainer", "launch")
OF_TEXTS = ("corpus", "tokenizer", "model", "objective")
CHOICES = {
    "model.size": tuple(SIZES),
    "model.positions": ("learned", "sinusoidal"),
    "trainer.schedule": ("linear", "cosine", "constant"),
    "trainer.mixed_precision": ("no", "bf16"),
}
LEAST = {
    "tokenizer.vocab_size": 100,
    "tokenizer.min_frequency": 1,
    "objective.max_length": 8,
    "images.block": 1,
    "trainer.steps": 1,
    "trainer.batch_size": 1,
    "trainer.accumulation": 1,
    "trainer.evaluate_every": 1,
    "trainer.evaluate_examples": 1,
    "trainer.checkpoint_every": 1,
    "launch.num_processes": 1,
}
SHARES = (
    "corpus.held_out", "model.dropout", "objective.masked", "objective.short", "images.held_out",
    "images.masked", "trainer.warmup", "trainer.head_first",
)  # fmt: skip
"""Of 0 to below 1."""
_OPEN = ("corpus.options", "images.options")
"""Keys that hold keys of their own."""


def compose(words: Sequence[str], file: Path | None = None) -> PretrainConfig:
    """Options with their defaults; a file's stand below the words'.

    Raises:
        ConfigError: a key, type or value that cannot be right.
    """
    made = OmegaConf.structured(PretrainConfig)
    for key, value in [*(_of_file(file) if file else ()), *_of_words(words)]:
        _require_key(key)
        try:
            OmegaConf.update(made, key, value, force_add=_is_open(key))
        except OmegaConfBaseException as error:
            raise ConfigError(f"{key}={value}: {str(error).splitlines()[0].rstrip('.')}.") from error
    if OmegaConf.is_missing(made, "output"):
        raise ConfigError("output=FOLDER is needed: where the trained encoder goes.")
    options: PretrainConfig = OmegaConf.to_object(made)  # type: ignore[assignment]
    _check(options)
    return options


def _of_file(path: Path) -> Iterator[tuple[str, Any]]:
    try:
        found = OmegaConf.to_container(OmegaConf.load(path))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise ConfigError(f"--config {path} cannot be read: {str(error).splitlines()[0]}.") from error
    if not isinstance(found, dict):
        raise ConfigError(f"--config {path} holds no keys.")
    yield from _flat(found)


def _of_words(words: Sequence[str]) -> Iterator[tuple[str, Any]]:
    for word in words:
        key, equals, _ = word.partition("=")
        if not (key and equals):
            raise ConfigError(f"'{word}' is not an option: write KEY=VALUE, such as trainer.steps=2000.")
        try:
            found = OmegaConf.to_container(OmegaConf.from_dotlist([word]))
        except (OmegaConfBaseException, yaml.YAMLError) as error:
            raise ConfigError(f"'{word}' cannot be read: quote its value.") from error
        assert isinstance(found, dict)
        yield from _flat(found)


def _flat(tree: Mapping[Any, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Values by dotted key."""
    for name, value in tree.items():
        key = f"{prefix}{name}"
        if isinstance(value, Mapping) and (not prefix or key in _OPEN):
            yield from _flat(value, f"{key}.")
        else:
            yield key, value


def keys() -> list[str]:
    """Every key that has a value."""
    found = ["output", "init"]
    for section in SECTIONS:
        kind = PretrainConfig.__dataclass_fields__[section].type
        assert isinstance(kind, type)
        found += [f"{section}.{one.name}" for one in dataclasses.fields(kind)]
    return found


def _require_key(key: str) -> None:
    if key not in keys() and not _is_open(key):
        raise ConfigError(_unknown("option", key, keys(), "See: matrixhub pretrain --help"))


def _is_open(key: str) -> bool:
    return key.rpartition(".")[0] in _OPEN


def _unknown(what: str, name: str, allowed: Iterable[str], hint: str = "") -> str:
    near = difflib.get_close_matches(name, allowed, n=3, cutoff=0.6)
    # A key is often right but for its section.
    near += [one for one in allowed if one.endswith(f".{name}") and one not in near]
    meant = f" Did you mean {' or '.join(repr(one) for one in near)}?" if near else ""
    return f"Unknown {what} '{name}'.{meant} {hint}".rstrip()


def _check(options: PretrainConfig) -> None:
    _check_rows(options)
    for key, allowed in CHOICES.items():
        if (value := _value(options, key)) not in allowed:
            raise ConfigError(f"{_unknown(key, value, allowed)} Allowed: {', '.join(allowed)}.")
    for key, least in LEAST.items():
        if (number := _value(options, key)) < least:
            raise ConfigError(f"{key}={number}: it must be {least} or more.")
    for key in SHARES:
        if not 0 <= (number := _value(options, key)) < 1:
            raise ConfigError(f"{key}={number}: it is a share, from 0 to below 1.")
    for key in ("objective.masked", "images.masked"):
        if _value(options, key) == 0:
            raise ConfigError(f"{key}=0: something must be masked.")
    for key in ("trainer.lr", "trainer.head_lr", "trainer.clip", "model.spread"):
        if (number := _value(options, key)) is not None and number <= 0:
            raise ConfigError(f"{key}={number}: it must be above 0.")
    _check_shape(options)


def _check_rows(options: PretrainConfig) -> None:
    corpus, images = options.corpus, options.images
    given = [one for one in (corpus.path, corpus.source, images.path, images.source) if one is not None]
    if len(given) != 1:
        raise ConfigError(
            "Give texts, corpus.path=FILES or corpus.source=NAME of a source, or images, images.path=FOLDER"
            " or images.source=NAME; one of the four."
        )
    default = PretrainConfig()
    sections = OF_TEXTS if options.of_images else ("images",)
    for key in (key for key in keys() if key.partition(".")[0] in sections):
        if _value(options, key) != _value(default, key):
            raise ConfigError(f"{key} is for {'texts' if options.of_images else 'images'}: leave it out.")


def _check_shape(options: PretrainConfig) -> None:
    layers, width, heads = shape(options.model)
    if min(layers, width, heads) < 1 or width % heads:
        raise ConfigError(
            f"A model of {layers} layers, {width} wide, with {heads} attention heads cannot be: the heads"
            " share the width equally."
        )
    if options.model.positions == "sinusoidal" and width % 2:
        raise ConfigError(f"model.width={width}: sinusoidal positions want an even width.")


def shape(model: ModelConfig) -> tuple[int, int, int]:
    """Layers, width and attention heads."""
    layers, width, heads, _ = SIZES[model.size]
    return model.layers or layers, model.width or width, model.heads or heads


def spread(model: ModelConfig) -> float:
    """Standard deviation of random weights, so that what a layer adds is as large at any width."""
    return model.spread or 0.02 * math.sqrt(768 / shape(model)[1])


def _value(options: PretrainConfig, key: str) -> Any:
    section, _, name = key.partition(".")
    return getattr(getattr(options, section), name)
