"""A generator with what is put before its prompts, as one model that the training loop knows how to train.

Shape legend: B rows, P vectors of a prefix, W width of a generator's embeddings.
"""

import math
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from matrixhub.errors import PluginError
from matrixhub.protocols import LearnsToWrite, TakesPrefix
from matrixhub.run.feed import FeatureFeed, Rows
from matrixhub.run.model import Outputs, ProductModel, build, standing_in
from matrixhub.types import PERPLEXITY, Features, Prediction

Asked = dict[str, Any]
"""``features`` by input, and ``prompts`` and ``answers`` by output, of one batch."""


class Likelihood(nn.Module):
    """In place of a head: its outputs (B, 2) are each row's loss already, and the number of its tokens; its
    targets tell nothing.
    """

    level, metric, higher_is_better = "pooled", PERPLEXITY, False

    def loss(self, outputs_B2: Tensor, targets_B: Tensor) -> Tensor:
        """The mean over rows."""
        return outputs_B2[:, 0].mean()

    def decode(self, outputs: Tensor, mask_BT: Tensor | None = None) -> list[Prediction]:
        """Nothing: the generator writes the answers."""
        return []

    def metrics(self, outputs_B2: Tensor, targets_B: Tensor) -> dict[str, float]:
        """``perplexity``: of a token, where each token of all answers counts the same."""
        losses_B, counts_B = outputs_B2.double().unbind(dim=1)
        return {self.metric: math.exp(min(float(losses_B @ counts_B / counts_B.sum()), 700.0))}


class Bridge(nn.Module):
    """From features of the encoded inputs to a prefix, by a fusion; without one there is no prefix.

    Args:
        fusion: its options.
        dims: width D of each encoded input.
        width, spread: of the generator's embeddings, as in ``TakesPrefix``.
        outputs: names of what is written.
        optional: encoded inputs that rows may lack; a vector that is learned stands there then.
    """

    def __init__(
        self,
        *,
        fusion: Mapping[str, Any] | None,
        dims: Mapping[str, int],
        width: int,
        spread: float,
        outputs: Iterable[str],
        optional: Collection[str] = (),
    ) -> None:
        super().__init__()
        self.optional = [name for name in dims if name in optional]
        self.absent = nn.ParameterList(0.02 * torch.randn(dims[name]) for name in self.optional)
        self.fusion: nn.Module | None = (
            build("fusion", fusion, dims=dict(dims), dim=width) if fusion else None
        )
        # Saved: a generator that was trained has another one now than its prefix was made for.
        self.spread: Tensor
        self.register_buffer("spread", torch.tensor(spread))
        self.heads = nn.ModuleDict({name: Likelihood() for name in outputs})

    def forward(self, features: Mapping[str, Features]) -> Tensor | None:
        """The prefix (B, P, W).

        Raises:
            PluginError: the fusion makes none of that width.
        """
        if self.fusion is None:
            return None
        whole = standing_in(features, dict(zip(self.optional, self.absent, strict=True)))
        found: Tensor | None = self.fusion(whole).tokens_BTD
        if found is None:
            raise PluginError(f"{type(self.fusion).__name__} gives no tokens_BTD, the vectors of a prefix.")
        return found * self.spread

    def head(self, name: str) -> Any:
        """Of that output."""
        return self.heads[name]


class Writer(ProductModel):
    """A generator behind its bridge.

    Called with a batch it gives how unlikely each right answer is, as ``Likelihood`` reads it; it trains on
    that.

    Args:
        generator: a frozen one stays in eval mode.
        bridge: what makes its prefix.
        encoders: by modality; empty where the bridge is fed with stored features.
        modalities: of each encoded input.
    """

    def __init__(
        self,
        generator: Any,
        bridge: Bridge,
        encoders: Mapping[str, nn.Module] | None = None,
        modalities: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(encoders or {}, modalities or {}, bridge)  # type: ignore[arg-type]
        self.generator = generator

    @property
    def bridge(self) -> Bridge:
        """What makes its prefix."""
        bridge: Any = self.readout
        return bridge  # type: ignore[no-any-return]

    @property
    def is_light(self) -> bool:
        """Never: each row goes through the generator."""
        return False

    def train(self, mode: bool = True) -> "Writer":
        """As ever, but for a frozen generator, whose dropout would only disturb what learns before it."""
        super().train(mode)
        self.generator.train(mode and any(one.requires_grad for one in self.generator.parameters()))
        return self

    def forward(self, asked: Asked) -> tuple[Outputs, None]:  # type: ignore[override]
        """The loss of each row and the number of its tokens (B, 2), by output."""
        prefix = self.bridge(asked["features"])
        how = {} if prefix is None else {"prefix_BPW": prefix}
        prompts, answers = asked["prompts"], asked["answers"]
        found = {}
        for name, right in answers.items():
            loss_B = self.generator.loss(prompts[name], right, **how)
            if loss_B.shape != (len(right),):
                raise PluginError(
                    f"The generator's loss of {len(right)} rows has the shape {tuple(loss_B.shape)}: "
                    "it must give one number a row."
                )
            counts = self.generator.num_tokens(prompts[name], right, **how)
            found[name] = torch.stack([loss_B.float(), torch.tensor(counts).to(loss_B.device)], dim=1)
        return found, None


@dataclass(frozen=True, slots=True)
class WriterFeed:
    """Prompts, right answers and stored features.

    Attributes:
        prompts, answers: of all rows of the table, by output; empty texts where none is needed.
        features: of the encoded inputs.
    """

    prompts: Mapping[str, Sequence[str]]
    answers: Mapping[str, Sequence[str]]
    features: FeatureFeed

    def inputs(self, batches: Iterable[Rows]) -> Iterator[tuple[Rows, Any]]:
        for rows, features in self.features.inputs(batches):
            texts = {
                part: {name: [texts[i] for i in rows] for name, texts in one.items()}
                for part, one in (("prompts", self.prompts), ("answers", self.answers))
            }
            yield rows, {"features": features, **texts}

    def lengths(self, rows: Rows) -> Rows | None:
        """Characters of prompts and answers, which tell near enough."""
        every = [*self.prompts.values(), *self.answers.values()]
        found = np.asarray([sum(len(texts[i]) for texts in every) for i in rows], dtype=np.int64)
        return found if len(np.unique(found)) > 1 else None

    def prefix(self, writer: Writer, rows: Rows) -> Tensor | None:
        """The prefix of some rows (B, P, W)."""
        found: Tensor | None = writer.bridge(
            {name: self.features.features(name, rows) for name in self.features.stored}
        )
        return found


def by_likelihood(outputs: Mapping[str, Any]) -> list[str]:
    """Names of the outputs that are to be scored by perplexity."""
    return [name for name, output in outputs.items() if PERPLEXITY in (output.get("metrics") or ())]


def bridge_for(
    generator: Any,
    fusion: Mapping[str, Any] | None,
    dims: Mapping[str, int],
    *,
    product: Mapping[str, Any],
    learns: bool,
) -> Bridge:
    """What stands before a generator, new.

    Args:
        generator: it stands before.
        fusion: its options; None makes no prefix.
        dims: width of each encoded input.
        product: whose inputs and outputs they are.
        learns: whether right answers are given to the generator, too.

    Raises:
        PluginError: the generator lacks what it takes to learn, or to read a prefix.
    """
    wanted = [(fusion, TakesPrefix, "read a prefix"), (learns, LearnsToWrite, "learn")]
    for is_asked, protocol, what in wanted:
        if is_asked and not isinstance(generator, protocol):
            raise PluginError(
                f"{type(generator).__name__} is registered to {what}, and is no {protocol.__name__}: see "
                "matrixhub.protocols."
            )
    width, spread = (generator.width, generator.spread) if fusion else (0, 1.0)
    optional = [name for name in dims if product["inputs"][name].get("optional")]
    return Bridge(
        fusion=fusion, dims=dims, width=width, spread=spread, outputs=product["outputs"], optional=optional
    )
