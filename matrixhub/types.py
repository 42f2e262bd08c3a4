"""The values that flow between components. Frozen, and free of torch until one is built.

Shape suffixes used everywhere: B rows in a batch, T tokens (or words, or image patches) of a row,
D feature width, C classes.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any, TypeAlias

if TYPE_CHECKING:
    from torch import Tensor

    Batch: TypeAlias = dict[str, Tensor]
    """Processed rows of one modality; the first dimension of every tensor is the row.

    The keys are private to one processor and its encoder, but for ``truncated`` (bool, (B,)):
    True where the row did not fit and was cut."""
else:
    Batch = dict

Modality: TypeAlias = str
"""``"text"``, ``"image"``, or whatever a plugin adds."""

MISSING: Any = "???"
"""Default of a config field that the user must fill in."""

PATH_FIELD = {b"matrixhub": b"path"}
"""Arrow field metadata of a column whose strings are paths of files that hold the values."""

UNTYPED_FIELD = {b"matrixhub": b"untyped"}
"""Arrow field metadata of a column read from a format without types (csv, tsv): all strings."""

SPLIT_COLUMN = "__split__"
"""Column a source adds when its rows come already split: ``train``, ``validation`` or ``test``."""

TASKS = ("classification", "multilabel", "regression", "token_classification", "retrieval")
"""What an output can be asked to learn; the core reads and checks the targets of these."""

RETRIEVAL = "retrieval"
"""The task of an output that finds the second input of a row by the first, and back; it needs no target."""

GENERATION = "generation"
"""The task of an output that a generator writes, as text; it needs no head."""

TEXT_METRICS = ("rouge1", "rouge2", "rougeL", "bleu", "chrf")
"""What an output of that task can be scored by, beside f1 and exact_match; needs libraries."""

PERPLEXITY = "perplexity"
"""Another one: how unlikely a generator holds the right answers; needs one with a loss."""


@dataclass(frozen=True, slots=True)
class Features:
    """What an encoder says about a batch of rows.

    Attributes:
        pooled_BD: float, one vector a row.
        tokens_BTD: float, one vector a token; None when only pooled features were asked for.
        mask_BT: bool, True where a token is real.
        present_B: bool, False where a row lacks this input, which is optional: a learned vector stands there
            when a fusion reads it. None where every row must have it.
    """

    pooled_BD: "Tensor"
    tokens_BTD: "Tensor | None" = None
    mask_BT: "Tensor | None" = None
    present_B: "Tensor | None" = None


@dataclass(frozen=True, slots=True)
class Target:
    """What an output learns, fitted on the training rows; plain data, stored in the artifact.

    Attributes:
        task: one of ``TASKS``.
        classes: label names in index order; empty for regression.
        typed: ``"text"``, ``"integer"``, ``"boolean"`` or ``"untyped"`` (read from csv): what the
            labels were before they became names.
        mean, std: of the training targets, for regression.
    """

    task: str
    classes: tuple[str, ...] = ()
    typed: str = "text"
    mean: float = 0.0
    std: float = 1.0

    @property
    def num_outputs(self) -> int:
        """Width of the head's last layer."""
        return len(self.classes) or 1

    def to_dict(self) -> dict[str, Any]:
        return {**asdict(self), "classes": list(self.classes)}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> "Target":
        return cls(**{**data, "classes": tuple(data.get("classes", ()))})


@dataclass(frozen=True, slots=True)
class Prediction:
    """One answer for one row.

    Attributes:
        value: label name, list of label names, number, or list of tags (one a word).
        score: confidence of ``value`` in 0..1, where the task has one.
        scores: confidence of every class, where the task has classes of the whole row.
        truncated: True when the row was cut to fit the encoder.
    """

    value: Any
    score: float | None = None
    scores: Mapping[str, float] = field(default_factory=dict)
    truncated: bool = False


@dataclass(frozen=True, slots=True)
class Generation:
    """One generated text.

    Attributes:
        text: without the prompt, and without what ended it.
        num_tokens: how many were generated.
        ended: ``"stop"``, at a stop sequence or the model's own end; ``"length"``, at the limit.
        truncated: True when the prompt was cut to fit the generator.
    """

    text: str
    num_tokens: int
    ended: str
    truncated: bool = False
