"""Dropout whose noise is given, so that each member of a stack draws its own, whoever trains beside it."""

import copy
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call

from matrixhub.types import Features

Shape = tuple[int, ...]


class GivenDropout(nn.Module):
    """Dropout (Srivastava et al. 2014) by a mask that is handed in as a buffer.

    Args:
        p: share of the elements set to zero.
    """

    keep: Tensor

    def __init__(self, p: float) -> None:
        super().__init__()
        self.p = p
        self.shapes: list[Shape] | None = None  # written down only while somebody asks
        self.register_buffer("keep", torch.ones(()), persistent=False)

    def forward(self, given: Tensor) -> Tensor:
        if self.shapes is not None:
            self.shapes.append(tuple(given.shape))
        return given * self.keep if self.training else given


def with_given_noise(module: nn.Module) -> nn.Module:
    """A copy in which every dropout waits for its mask."""
    made = copy.deepcopy(module)
    for parent in list(made.modules()):
        for name, child in parent.named_children():
            if isinstance(child, nn.Dropout):
                setattr(parent, name, GivenDropout(child.p))
    return made


class Noise:
    """Masks of K members, each from a generator of its own.

    Args:
        template: as ``with_given_noise`` makes it.
        seeds: one for each member; ranks, whose rows differ, need different ones.
        device: of the masks.
    """

    def __init__(self, template: nn.Module, seeds: Sequence[int], device: torch.device) -> None:
        self.template, self.device = template, device
        found = template.named_modules()
        self.dropouts = {name: m for name, m in found if isinstance(m, GivenDropout) and m.p > 0}
        self.generators = [torch.Generator(device).manual_seed(seed % 2**63) for seed in seeds]
        self._shapes: dict[Any, dict[str, Shape]] = {}

    def draw(self, state: Mapping[str, Tensor], inputs: Mapping[str, Features]) -> dict[str, Tensor]:
        """Masks (K, ...) by buffer name, for one step.

        Args:
            state: parameters and buffers of one member, to find out with how large the masks must be.
            inputs: of one member, for this step.
        """
        if not self.dropouts:
            return {}
        sizes = tuple((f.pooled_BD.shape, f.mask_BT is not None and f.mask_BT.shape) for f in inputs.values())
        if sizes not in self._shapes:
            self._shapes[sizes] = self._look(state, inputs)
        shapes = self._shapes[sizes]
        return {f"{name}.keep": self._masks(shapes[name], d.p) for name, d in self.dropouts.items()}

    def _look(self, state: Mapping[str, Tensor], inputs: Mapping[str, Features]) -> dict[str, Shape]:
        """What each dropout is called with.

        Raises:
            ValueError: one is not called exactly once, and one mask would stand for several.
        """
        seen: dict[str, list[Shape]] = {}
        for name, dropout in self.dropouts.items():
            dropout.shapes = seen[name] = []
        with torch.no_grad():
            functional_call(self.template, dict(state), (inputs,))
        for name, dropout in self.dropouts.items():
            dropout.shapes = None
            if len(seen[name]) != 1:
                raise ValueError(f"the dropout '{name}' is used {len(seen[name])} times in one pass")
        return {name: shapes[0] for name, shapes in seen.items()}

    def _masks(self, shape: Shape, p: float) -> Tensor:
        masks = torch.empty((len(self.generators), *shape), device=self.device)
        for mask, generator in zip(masks, self.generators, strict=True):
            mask.bernoulli_(1 - p, generator=generator)
        return masks.div_(1 - p)

    def keep(self, index: Sequence[int]) -> None:
        """Go on with these members only."""
        self.generators = [self.generators[k] for k in index]
