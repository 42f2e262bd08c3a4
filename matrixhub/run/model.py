"""A product as one ``nn.Module``: encoders, fusion, heads."""

import dataclasses
from collections.abc import Collection, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from matrixhub.plugins import hub
from matrixhub.protocols import Head, Standardizes
from matrixhub.types import Batch, Features, Target

Outputs = dict[str, Tensor]

PRESENT = "present"
"""Key of a batch of an optional input, bool (B,): which rows have it. Its other tensors are of these rows."""


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
        optional: inputs that rows may lack; a vector that is learned stands there then.
        balance: as in ``TrainerConfig``.
    """

    log_variances: nn.Parameter | None

    def __init__(
        self,
        *,
        dims: Mapping[str, int],
        fusion: Mapping[str, Any] | None,
        head: Mapping[str, Any],
        targets: Mapping[str, Target],
        optional: Collection[str] = (),
        balance: str = "fixed",
    ) -> None:
        super().__init__()
        self.inputs = list(dims)
        self.optional = [name for name in dims if name in optional]
        self.absent = nn.ParameterList(0.02 * torch.randn(dims[name]) for name in self.optional)
        self.fusion: nn.Module | None = build("fusion", fusion, dims=dict(dims)) if fusion else None
        dim = self.fusion.dim if self.fusion is not None else dims[self.inputs[0]]
        self.heads = nn.ModuleDict(
            {name: build("head", head, dim=dim, target=target) for name, target in targets.items()}
        )

        learns = balance == "uncertainty"
        self.log_variances = nn.Parameter(torch.zeros(len(targets))) if learns else None

    def forward(self, features: Mapping[str, Features]) -> tuple[Outputs, Tensor | None]:
        """Outputs by name, and the mask (B, T) of the tokens they are about, if any."""
        fused = self._fused(features)
        return {name: head(fused) for name, head in self.heads.items()}, fused.mask_BT

    def _fused(self, features: Mapping[str, Features]) -> Features:
        whole = standing_in(features, dict(zip(self.optional, self.absent, strict=True)))
        found: Features = whole[self.inputs[0]] if self.fusion is None else self.fusion(whole)
        return found

    def head(self, name: str) -> Head:
        """The head of that output."""
        head: Any = self.heads[name]
        return head  # type: ignore[no-any-return]

    @torch.no_grad()
    def standardize(self, features: Mapping[str, Features]) -> None:
        """Tell the heads the mean and spread of the training features, where they want it.

        What stands in for an optional input begins as its mean.
        """
        for name, absent_D in zip(self.optional, self.absent, strict=True):
            absent_D.copy_(_mean_of_present(features[name]))
        mean_D, std_D = _moments(self._fused(features))
        for head in self.heads.values():
            if isinstance(head, Standardizes):
                head.standardize(mean_D, std_D)


def balanced(
    losses: Mapping[str, Tensor], weights: Mapping[str, float], log_variances: Tensor | None
) -> Tensor:
    """Weighted sum of the losses of all outputs, in their order.

    With log variances s (one an output), a loss L counts as exp(-s) L + s / 2 (Kendall et al. 2018): where s
    has settled, each weighs half the inverse of its own size.
    """
    loss_O = torch.stack(list(losses.values()))
    weight_O = loss_O.new_tensor([weights[name] for name in losses])
    if log_variances is not None:
        loss_O = torch.exp(-log_variances) * loss_O + log_variances / 2
    return (weight_O * loss_O).sum()


def standing_in(features: Mapping[str, Features], absent: Mapping[str, Tensor]) -> dict[str, Features]:
    """Features of all inputs, with a vector (D,) of its own in the rows that lack an optional one."""
    return {**features, **{name: _filled(features[name], absent_D) for name, absent_D in absent.items()}}


def _filled(features: Features, absent_D: Tensor) -> Features:
    """With that vector, as one token too, in the rows that lack the input."""
    present_B, tokens_BTD, mask_BT = features.present_B, features.tokens_BTD, features.mask_BT
    if present_B is None:
        return features
    pooled_BD = torch.where(present_B[:, None], features.pooled_BD, absent_D)
    if tokens_BTD is None or mask_BT is None:
        return Features(pooled_BD, present_B=present_B)
    is_first_T = torch.arange(mask_BT.shape[1], device=mask_BT.device) == 0
    tokens_BTD = torch.where(present_B[:, None, None], tokens_BTD, absent_D)
    return Features(pooled_BD, tokens_BTD, torch.where(present_B[:, None], mask_BT, is_first_T), present_B)


def _mean_of_present(features: Features) -> Tensor:
    present_B = features.present_B
    is_any = present_B is not None and present_B.any()
    return (features.pooled_BD[present_B] if is_any else features.pooled_BD).mean(dim=0)


def spread(features: Features, present_B: Tensor) -> Features:
    """Features of the rows that have an input, or of a single one where none has, over all rows.

    A row that lacks it shows the features of another one.
    """
    rows_B = (present_B.cumsum(dim=0) - 1).clamp(min=0)
    tokens_BTD, mask_BT = features.tokens_BTD, features.mask_BT
    return Features(
        features.pooled_BD[rows_B],
        None if tokens_BTD is None else tokens_BTD[rows_B],
        None if mask_BT is None else mask_BT[rows_B],
        present_B,
    )


def pooled_rows(features: Features, rows: Any) -> Features:
    """The pooled features of some rows."""
    present_B = features.present_B
    return Features(features.pooled_BD[rows], present_B=None if present_B is None else present_B[rows])


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

    @property
    def is_light(self) -> bool:
        """Whether heads alone run, so that many rows go at a time."""
        return not self.encoders

    def forward(self, inputs: Mapping[str, Batch | Features]) -> tuple[Outputs, Tensor | None]:
        """Batches, or features where they are known already, to outputs and mask."""
        features = {name: self._encoded(name, one) for name, one in inputs.items()}
        result: tuple[Outputs, Tensor | None] = self.readout(features)
        return result

    def _encoded(self, name: str, given: Any) -> Features:
        if not self.encoders:
            return given  # type: ignore[no-any-return]
        encoder = self.encoders[self.modalities[name]]
        if isinstance(given, Features):
            found: Features = dataclasses.replace(encoder(given), present_B=given.present_B)
            return found
        if PRESENT not in given:
            return encoder(given)  # type: ignore[no-any-return]
        return spread(encoder({k: v for k, v in given.items() if k != PRESENT}), given[PRESENT])


def flags(rows: Sequence[int], count: int) -> Tensor:
    """True at these of ``count`` positions."""
    flags = torch.zeros(count, dtype=torch.bool)
    flags[rows] = True
    return flags
