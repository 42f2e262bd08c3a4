"""The typed root of every config. Unknown keys are refused because all of it is typed."""

from dataclasses import dataclass, field
from typing import Any

from matrixhub.types import MISSING


@dataclass
class InputConfig:
    """One input of a product."""

    column: Any = MISSING
    """Column that feeds it; a list of several makes one value of them: a pair of texts, a table's row."""
    modality: str = MISSING
    """Which encoder reads it: text, image, or what a plugin adds."""
    prefix: bool = False
    """A generator reads what an encoder says of it, before the prompt; of all but texts it always does."""
    optional: bool = False
    """Rows may lack it, where they have another one: a learned vector stands in for it."""


@dataclass
class OutputConfig:
    """One output of a product."""

    task: str = MISSING
    """classification, multilabel, regression, token_classification or retrieval; or generation."""
    target: str | None = None
    """Column that holds the right answers; in retrieval, of what is the same item, where rows share one."""
    classes: list[Any] | None = None
    """Allowed labels in order; None learns them from the training rows."""
    separator: str = "|"
    """Between the labels of a multilabel cell in a csv."""
    weight: float = 1.0
    """Of this output's loss in the sum."""
    prompt: str | None = None
    """What a generator is given, such as "Summarize: {text}" with an input text; None: the input alone."""
    metrics: list[str] = field(default_factory=list)
    """Of generated texts, beside f1 and exact_match: rouge1, rouge2, rougeL, bleu, chrf, perplexity."""


@dataclass
class SplitConfig:
    """Which rows train, validate and test. A row's side depends on its content only."""

    column: str | None = None
    """Column that already says train, validation or test."""
    group: str | None = None
    """Rows with the same value here stay on one side."""
    stratify: bool = False
    """Cut each class at the exact fractions; new rows may then move a row at the boundary."""
    fractions: list[float] = field(default_factory=lambda: [0.7, 0.1, 0.2])
    """Of train, validation and test; they add up to 1."""
    seed: int = 0
    """Another seed, another split."""


@dataclass
class ProductConfig:
    """A product: rows in, answers out."""

    name: str = MISSING
    """Of its folder and its rows in the leaderboard."""
    source: Any = MISSING
    """Component of kind source, with its options: choose with product/source=NAME."""
    transform: dict[str, Any] = field(default_factory=dict)
    """What rows go through before all else, in order: choose with product/transform=[NAME,NAME]."""
    inputs: dict[str, InputConfig] = field(default_factory=dict)
    """By name; most products have one."""
    outputs: dict[str, OutputConfig] = field(default_factory=dict)
    """By name; most products have one."""
    split: SplitConfig = field(default_factory=SplitConfig)


@dataclass
class LoraConfig:
    """Small matrices beside frozen weights (Hu et al. 2022); needs matrixhub[lora]."""

    rank: int = 8
    """Of the matrices."""
    alpha: float = 16.0
    """Their product is scaled by alpha / rank."""
    dropout: float = 0.0
    """Of what goes into them."""
    targets: list[str] | None = None
    """Last names of the modules that get them, such as query; None takes every linear layer."""


@dataclass
class TrainerConfig:
    """How a cell trains. The same numbers mean the same on any number of processes."""

    train_encoder: bool = False
    """False: frozen encoder, features computed once. True: full fine-tune. Of a generator the same."""
    trainable_layers: int | None = None
    """So many last layers of each encoder train, on hidden states of the others that are computed once."""
    layers_budget_gb: float = 20.0
    """Gigabytes of hidden states, of one encoder over one source, that may be stored; more are recomputed."""
    lora: LoraConfig | None = None
    """Train small matrices inside the frozen encoder or generator: choose with trainer=lora."""
    epochs: int = 100
    """At most; early stopping may end sooner."""
    batch_size: int = 64
    """Rows for each optimizer step, over all processes and accumulation steps together."""
    accumulation: int = 1
    """Micro-batches for each optimizer step."""
    group_by_length: bool = True
    """Put rows of like length into one batch when the encoder trains: little padding, more rows a second."""
    lr: float = 3e-3
    """Peak learning rate of AdamW (Loshchilov and Hutter 2019)."""
    encoder_lr: float | None = None
    """Of the encoder or generator, where something in it trains; None takes lr."""
    weight_decay: float = 0.01
    """Of weights with two or more dimensions; biases and norms have none."""
    schedule: str = "cosine"
    """After the warm-up: constant, linear or cosine, down to zero."""
    warmup: float = 0.1
    """Share of all steps over which the learning rate rises from zero."""
    clip: float | None = 1.0
    """Largest global gradient norm; None leaves gradients alone."""
    balance: str = "fixed"
    """Of the losses of several outputs: fixed, by product.outputs.NAME.weight, or uncertainty, which learns
    how much each is worth too (Kendall et al. 2018)."""
    joint: str | None = None
    """Train the products of a sweep on one shared encoder, and how often each has its turn: proportional (to
    its rows), temperature, or round_robin. None trains each product alone."""
    joint_temperature: float = 2.0
    """T of joint=temperature: a product of n batches has its turn in proportion to n^(1/T), so small ones
    more often (Arivazhagan et al. 2019)."""
    monitor: str = "loss"
    """Validation figure that picks the best weights: loss, or OUTPUT.METRIC such as topic.accuracy."""
    patience: int | None = 10
    """Epochs without a better figure before training stops; None never stops early."""
    seed: int = 0
    """Of initial weights, data order and dropout."""


@dataclass
class EncodeConfig:
    """How frozen encoders run. Features of another precision are stored apart."""

    precision: str = "auto"
    """float32, bfloat16, float16 or autocast (bfloat16 products, float32 weights); auto takes the fastest
    whose features agree with float32 on a sample of the rows."""
    probe: bool = True
    """Search for the fastest precision and batch, once for each encoder and machine, where there are rows
    enough to win the time back."""


@dataclass
class GenerateConfig:
    """How generators write."""

    max_new_tokens: int = 64
    """Of each text, at most."""
    stop: list[str] = field(default_factory=list)
    """A text ends before the first of these."""
    temperature: float = 0.0
    """0 takes the likeliest token each time; above it, tokens are drawn."""
    top_p: float = 1.0
    """Drawn from the likeliest tokens that have this share of the probability."""
    seed: int = 0
    """Of the drawing."""
    batch_size: int = 128
    """Prompts handed to the generator at a time, of like length. How many of them it computes at once is its
    own affair: generator.num_rows, of those that have it."""


@dataclass
class LaunchConfig:
    """Where it runs. One launch serves all cells of a plan."""

    num_processes: int = 1
    """Ranks on this machine; started once for the whole plan."""
    mixed_precision: str = "no"
    """no, bf16 or fp16, for training steps."""
    cpu: bool = False
    """Stay on the CPU where there is an accelerator."""
    timeout: int = 1800
    """Seconds a rank waits for the others before the run is ended."""
    trackers: list[str] = field(default_factory=list)
    """Who is told losses and figures as they come: tensorboard, wandb, mlflow, trackio."""


@dataclass
class RootConfig:
    """Everything a cell is made of."""

    product: ProductConfig = field(default_factory=ProductConfig)
    encoder: dict[str, Any] = field(default_factory=dict)
    """One encoder for each modality: choose with encoder/text=NAME, encoder/image=NAME."""
    fusion: Any = None
    """Joins several inputs: choose with fusion=NAME."""
    head: Any = None
    """Trained on top, one for each output: choose with head=NAME."""
    generator: Any = None
    """Writes outputs whose task is generation, without a head: choose with generator=NAME."""
    generate: GenerateConfig = field(default_factory=GenerateConfig)
    trainer: TrainerConfig = field(default_factory=TrainerConfig)
    encode: EncodeConfig = field(default_factory=EncodeConfig)
    launch: LaunchConfig = field(default_factory=LaunchConfig)
    callback: dict[str, Any] = field(default_factory=dict)
    """Who watches the run: choose with callback=[NAME,NAME]. No part of a cell."""
    baseline: bool = True
    """Score the simplest honest alternatives beside each product."""
    output_dir: str = "runs"
    """Run folders are made here."""
    cache_dir: str | None = None
    """Of the feature store; None is the user's cache folder."""
    cache_limit_gb: float | None = 50.0
    """Gigabytes that the feature store may take: features used longest ago go first. None keeps all."""


TRACKERS = ("tensorboard", "wandb", "mlflow", "trackio")
"""Trackers of Accelerate; each has the name of its package, and of MatrixHub's extra that brings it."""

CHOICES = {
    "trainer.schedule": ("constant", "linear", "cosine"),
    "trainer.balance": ("fixed", "uncertainty"),
    "trainer.joint": ("proportional", "temperature", "round_robin"),
    "encode.precision": ("auto", "float32", "bfloat16", "float16", "autocast"),
    "launch.mixed_precision": ("no", "bf16", "fp16"),
}
"""Fields that take one of a few words."""
