"""A product as one ``nn.Module``: encoders, fusion, heads."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from matrixhub.plugins import hub
from matrixhub.protocols import Head, Standardizes
from matrixhub.types import Batch, Features, Target

Outputs = dict[str, Tensor]


def build(kind: str, options: Mapping[str, Any], **supplied: Any) -> Any:
    """Make a component from its options; ``name`` says which.

    Raises:
        PluginError, UnknownNameError: it is not there or cannot be imported.
    """
    component = hub().component(kind, options["name"])
    return component.factory()(**supplied, **{k: v for k, v in options.items() if k != "name"})


class Readout(nn.Module):
    """What is trained on top of features: a fusion where there are several inputs, a head an output.

    Args:
        dims: width D of each named input.
        fusion: options of the fusion; None with one input.
        head: options of the heads.
        targets: what each output learns.
    """

    def __init__(
        self,
        *,
        dims: Mapping[str, int],
        fusion: Mapping[str, Any] | None,
        head: Mapping[str, Any],
        targets: Mapping[str, Target],
    ) -> None:
        super().__init__()
        self.inputs = list(dims)
        self.fusion: nn.Module | None = build("fusion", fusion, dims=dict(dims)) if fusion else None
        dim = self.fusion.dim if self.fusion is not None else dims[self.inputs[0]]
        self.heads = nn.ModuleDict(
            {name: build("head", head, dim=dim, target=target) for name, target in targets.items()}
        )

    def forward(self, features: Mapping[str, Features]) -> tuple[Outputs, Tensor | None]:
        """Outputs by name, and the mask (B, T) of the tokens they are about, if any."""
        fused = features[self.inputs[0]] if self.fusion is None else self.fusion(features)
        return {name: head(fused) for name, head in self.heads.items()}, fused.mask_BT

    def head(self, name: str) -> Head:
        """The head of that output."""
        head: Any = self.heads[name]
        return head  # type: ignore[no-any-return]

    @torch.no_grad()
    def standardize(self, features: Mapping[str, Features]) -> None:
        """Tell the heads the mean and spread of the training features, where they want it."""
        fused = features[self.inputs[0]] if self.fusion is None else self.fusion(features)
        mean_D, std_D = _moments(fused)
        for head in self.heads.values():
            if isinstance(head, Standardizes):
                head.standardize(mean_D, std_D)


def _moments(features: Features) -> tuple[Tensor, Tensor]:
    """Mean and standard deviation (D,) over rows, or over real tokens."""
    if features.tokens_BTD is not None and features.mask_BT is not None:
        vectors_ND = features.tokens_BTD[features.mask_BT]
    else:
        vectors_ND = features.pooled_BD
    return vectors_ND.mean(dim=0), vectors_ND.std(dim=0, correction=0)


class ProductModel(nn.Module):
    """Encoders and readout in one module, so that they are wrapped and prepared as one.

    Args:
        encoders: by modality; empty when the readout is fed with stored features. One that is fed with
            features takes them for hidden states.
        modalities: of each named input.
        readout: what stands on top.
    """

    def __init__(
        self, encoders: Mapping[str, nn.Module], modalities: Mapping[str, str], readout: Readout
    ) -> None:
        super().__init__()
        self.encoders = nn.ModuleDict(dict(encoders))
        self.modalities = dict(modalities)
        self.readout = readout

    def forward(self, inputs: Mapping[str, Batch | Features]) -> tuple[Outputs, Tensor | None]:
        """Batches, or features where they are known already, to outputs and mask."""
        features = {
            name: self.encoders[self.modalities[name]](one) if self.encoders else one
            for name, one in inputs.items()
        }
        result: tuple[Outputs, Tensor | None] = self.readout(features)
        return result
