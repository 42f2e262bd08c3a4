"""What a plugin implements. No base class is needed: match the shape of one of these.

A component is made by a *factory*, a callable that takes plain keyword parameters: the fields of the
config dataclass it was registered with, plus what the core supplies (named in each docstring).
Encoders, fusions and heads are ``torch.nn.Module`` as well.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

from matrixhub.types import Batch, Features, Generation, Modality, Prediction

if TYPE_CHECKING:
    import pyarrow as pa
    from torch import Tensor, nn


@runtime_checkable
class Source(Protocol):
    """Rows. Factory: ``factory(**options)``."""

    def fingerprint(self) -> str:
        """Changes whenever the rows may have changed; cheap, without reading them all."""
        ...

    def read(self) -> "pa.Table":
        """All rows, always in the same order.

        Columns whose strings are file paths carry ``PATH_FIELD`` metadata and hold absolute paths;
        columns of a format without types carry ``UNTYPED_FIELD``; rows that come already split
        carry ``SPLIT_COLUMN``.
        """
        ...

    def batches(self, batch_size: int) -> "Iterator[pa.Table]":
        """The rows of ``read()``, ``batch_size`` at a time, without holding them all."""
        ...


@runtime_checkable
class Transform(Protocol):
    """Rows to rows. Factory: ``factory(**options)``.

    The same table always gives the same rows. When a product is trained it sees all of them at once, and may
    drop some, and add or change columns. The trained product applies it again to what it is to answer, any
    number of rows at a time: then there may be no target column, and every row must stay in its place. One
    that is for training alone, such as one that drops duplicates, has an attribute ``training_only = True``,
    and is left out there.
    """

    def __call__(self, table: "pa.Table") -> "pa.Table":
        """Another table, with all columns of this one."""
        ...


class Processor(Protocol):
    """Raw values of one modality to a ``Batch``, in two steps: the costly one runs ahead, in threads.

    An input of several columns gives one tuple a row. With an attribute ``takes_nulls = True`` missing
    values arrive as None, alone or in a tuple; without it such rows are refused before.

    With a method ``doubts(values)`` it is shown some rows that a product was trained on, and gives sentences
    about what its encoder reads badly, though without an error; the record has them as notes.
    """

    def prepare(self, values: Sequence[Any]) -> list[Any]:
        """Tokenize or decode: one item for each value, each independent of the others.

        Raises:
            DataError: with ``row`` set to the position in ``values``.
        """
        ...

    def size(self, item: Any) -> int:
        """Cost of an item in the unit of ``Encoder.budget``: tokens for text, 1 for an image."""
        ...

    def collate(self, items: Sequence[Any]) -> Batch:
        """Pad and stack."""
        ...


@runtime_checkable
class Encoder(Protocol):
    """Rows of one modality to ``Features``. Factory: ``factory(**options)``, returning an ``nn.Module``.

    In eval mode it is called from several threads at once: it keeps nothing of one batch on itself.

    Attributes:
        modality: what it reads.
        processor: makes its batches.
        dim: D, width of its features.
        budget: when only encoding, the largest ``len(batch) * max(size of an item)``.

    If its config has a field ``pretrained``, the core sets it to False to build the bare architecture
    and load stored weights into it; if it has ``checkpoint``, the core then points it at the folder
    that ``save_assets`` wrote. Weights are always stored by the core, as safetensors.
    """

    modality: Modality
    processor: Processor
    dim: int
    budget: int

    def __call__(self, batch: Batch) -> Features: ...


@runtime_checkable
class Layered(Protocol):
    """An encoder that can be cut in two, so that its last layers train on what the first ones gave.

    It is registered with ``"layers"`` in ``produces``.

    Attributes:
        num_layers: how many can train; 0 where this one cannot be cut, and ``split`` says why.
    """

    num_layers: int

    def split(self, num_trainable: int) -> "tuple[Encoder, nn.Module]":
        """The first layers and the last ``num_trainable``; both share this encoder's parameters.

        The first part is an encoder of its own: its tokens are hidden states, its mask is theirs. The second
        is called with these features, in batches padded anew, and answers as the whole encoder would, to
        1e-6 in float32.

        Raises:
            ConfigError: this encoder cannot be cut there.
        """
        ...


@runtime_checkable
class SavesAssets(Protocol):
    """An encoder that needs more than options and weights to be built again."""

    def save_assets(self, folder: Path) -> None:
        """Write config, tokenizer or processor data (json, txt, model): data, never code or weights."""
        ...


@runtime_checkable
class HasBaseline(Protocol):
    """An encoder that knows the simplest honest features of its modality, to be compared with."""

    baseline_name: str
    """As printed, such as ``"TF-IDF + linear"``."""

    def baseline_features(self, train: Sequence[Any], test: Sequence[Any]) -> tuple[Any, Any]:
        """Two matrices (dense or scipy sparse, one row a value) a scikit-learn model can be fitted on."""
        ...


@runtime_checkable
class Fusion(Protocol):
    """Several ``Features`` to one. Factory: ``factory(dims=..., **options)``, returning an ``nn.Module``.

    The core supplies ``dims``: width D of each named input, in the order of the product's inputs.

    One that is registered with ``"prefix"`` in ``produces`` makes what a generator reads before its prompt:
    it is supplied ``dim`` as well, the width of the generator's embeddings, and its ``tokens_BTD`` are the
    vectors, with numbers of a spread of about 1. It may be given a single input.
    """

    dim: int

    def __call__(self, features: Mapping[str, Features]) -> Features: ...


@runtime_checkable
class Head(Protocol):
    """``Features`` to predictions, with loss and metrics.

    Factory: ``factory(dim=..., target=..., **options)``, returning an ``nn.Module``. The core supplies
    ``dim``, the width of the features, and ``target``, a ``matrixhub.Target`` fitted on the training
    rows. Encoded targets are int64 (B,) for classification, float32 (B, C) for multilabel, float32
    (B,) for regression (in the units of the data), int64 (B, T) padded with -100 for
    token_classification, where T counts words; int64 (B, 2) for retrieval, equal on one side where rows
    belong together.

    Attributes:
        level: ``"pooled"`` or ``"tokens"``, the features it reads.
        metric: name of its main metric.
        higher_is_better: direction of that metric.
    """

    level: str
    metric: str
    higher_is_better: bool

    def __call__(self, features: Features) -> "Tensor":
        """Outputs: (B, C), (B,) for regression, (B, T, C) for token_classification, (B, 2E) for retrieval."""
        ...

    def loss(self, outputs: "Tensor", targets: "Tensor") -> "Tensor":
        """Mean loss over the batch, a scalar."""
        ...

    def decode(self, outputs: "Tensor", mask_BT: "Tensor | None" = None) -> list[Prediction]:
        """One prediction a row; ``mask_BT`` tells real words when the head reads tokens."""
        ...

    def metrics(self, outputs: "Tensor", targets: "Tensor") -> dict[str, float]:
        """Over a whole split; must hold ``metric``. Positions with target -100 do not count."""
        ...


@runtime_checkable
class Standardizes(Protocol):
    """A head that wants the mean and spread of frozen features before the first step."""

    def standardize(self, mean_D: "Tensor", std_D: "Tensor") -> None: ...


@runtime_checkable
class Generator(Protocol):
    """Prompts to text. Factory: ``factory(**options)``, returning an ``nn.Module``.

    Its weights are stored the way an encoder's are: see ``Encoder`` on ``pretrained`` and ``checkpoint``, and
    ``SavesAssets``.

    Attributes:
        context: most tokens of a prompt and its answer together. A longer prompt is cut, and its text says
            so by ``truncated``.
    """

    context: int

    def generate(
        self,
        prompts: Sequence[str],
        *,
        max_new_tokens: int,
        stop: Sequence[str] = (),
        temperature: float = 0.0,
        top_p: float = 1.0,
        seed: int = 0,
    ) -> list[Generation]:
        """One text a prompt, in their order. The random state of the process stays as it was.

        Args:
            prompts: ``generate.batch_size`` of them or fewer; it computes no more at once than memory holds.
            max_new_tokens: of each text, at most.
            stop: a text ends before the first of these.
            temperature: 0 takes the likeliest token each time; else tokens are drawn.
            top_p: drawn from the likeliest tokens that have this share of the probability.
            seed: of the drawing; the same one gives a prompt the same text, alone and among others.
        """
        ...


@runtime_checkable
class LearnsToWrite(Protocol):
    """A generator that tells how unlikely right answers are: it can be trained, and scored by perplexity. It
    is registered with ``"loss"`` in ``produces``.
    """

    def loss(
        self, prompts: Sequence[str], answers: Sequence[str], *, prefix_BPW: "Tensor | None" = None
    ) -> "Tensor":
        """How unlikely each right answer is, (B,): the mean of ``-log p`` over its tokens and the end behind
        them. Tokens of the prompt do not count; a row's loss is the same whatever else is in the batch.

        Args:
            prompts, answers: of one batch, as texts; a pair longer than ``context`` is cut.
            prefix_BPW: as in ``TakesPrefix.generate``; never given to one that takes none.
        """
        ...

    def num_tokens(
        self, prompts: Sequence[str], answers: Sequence[str], *, prefix_BPW: "Tensor | None" = None
    ) -> list[int]:
        """How many tokens the loss of each row is the mean of, its end among them; 1 or more. Arguments as of
        ``loss``.
        """
        ...


@runtime_checkable
class TakesPrefix(Protocol):
    """A generator that reads vectors before its prompt, in place of tokens. It is registered with
    ``"prefix"`` in ``consumes``.

    Attributes:
        width: W of its token embeddings.
        spread: standard deviation of their numbers, to which the core scales a prefix.
    """

    width: int
    spread: float

    def generate(
        self,
        prompts: Sequence[str],
        *,
        max_new_tokens: int,
        stop: Sequence[str] = (),
        temperature: float = 0.0,
        top_p: float = 1.0,
        seed: int = 0,
        prefix_BPW: "Tensor | None" = None,
    ) -> list[Generation]:
        """As ``Generator.generate``; a prompt may be empty where there is a prefix.

        Args:
            prefix_BPW: P vectors a prompt, which stand where embeddings of tokens would, right before it
                (after a token that begins every text, if there is one; in a chat, at the beginning of the
                user's words). They count in ``context``.
        """
        ...


@runtime_checkable
class Streams(Protocol):
    """A generator that shows a text while it is being written."""

    def stream(
        self,
        prompt: str,
        *,
        max_new_tokens: int,
        stop: Sequence[str] = (),
        temperature: float = 0.0,
        top_p: float = 1.0,
        seed: int = 0,
        prefix_BPW: "Tensor | None" = None,
    ) -> Iterator[str]:
        """What ``generate`` answers to one prompt, in pieces; no piece is taken back. What it cannot stream
        it refuses at once, by a ``ConfigError``.

        Args:
            prefix_BPW: as in ``TakesPrefix.generate``, of one row; never given to one that takes none.
        """
        ...


class Callback(Protocol):
    """Watches a run, on its main process. Factory: ``factory(**options)``; every method is optional.

    One is made for each run. What raises is warned about once, and costs the run nothing.
    """

    def on_run_start(self, run: Any) -> None:
        """Before any work; ``run`` is a ``matrixhub.Run`` without records. Each batch of a search is one."""
        ...

    def on_cell_start(self, cell: Mapping[str, Any]) -> None:
        """A cell begins to train; cells that train together all start before the first ends."""
        ...

    def on_epoch_end(self, cell: Mapping[str, Any], epoch: Mapping[str, Any]) -> None:
        """Figures of an epoch, as in a record; of cells that train together, told when all have trained."""
        ...

    def on_cell_end(self, cell: Mapping[str, Any], record: Mapping[str, Any]) -> None:
        """A cell has its record, done or failed."""
        ...

    def on_run_end(self, run: Any, records: Sequence[Mapping[str, Any]]) -> None:
        """After all work, also of a run that was ended; one record for each cell that it has done."""
        ...


Register = Callable[..., None]
"""``register(kind, name, target, *, config, consumes=(), produces=())``; see ``hookspecs``."""
