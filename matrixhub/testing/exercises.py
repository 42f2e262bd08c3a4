"""What is put into a component of each kind, and what comes out, so that one check serves many kinds.

Shape legend: B rows, T words of a row, D feature width, C classes.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from matrixhub.registry import Component
from matrixhub.testing.rows import rows
from matrixhub.types import Features, Target

if TYPE_CHECKING:
    from torch import Tensor

B, T, D, C = 24, 5, 8, 3
CLASSES = ("O", "B-place", "B-name")
DIMS = {"one": 4, "two": 6}
"""Width of each input of a fusion."""

PROMPTS = ("The capital of France is", "One, two, three,", "words " * 8)


class Exercise(Protocol):
    """How components of one kind are asked something.

    Attributes:
        supplied: what the core gives the factory beside the options.
        is_module: whether it is a ``torch.nn.Module``.
    """

    supplied: dict[str, Any]
    is_module: bool

    def inputs(self, module: Any) -> Any:
        """What to ask, made by the kit; the same every time."""
        ...

    def answers(self, module: Any, inputs: Any) -> dict[str, Any]:
        """Tensors or plain values by name; padding left out."""
        ...

    def loss(self, module: Any, inputs: Any) -> "Tensor":
        """A scalar that depends on everything the module gives."""
        ...


def exercise_of(component: Component, task: str, declared: Mapping[str, list[Any]]) -> Exercise:
    """The exercise of its kind."""
    match component.kind:
        case "encoder":
            return EncoderExercise(component, declared)
        case "fusion":
            is_prefix = "prefix" in component.produces
            return FusionExercise(has_tokens="tokens" in component.consumes, is_prefix=is_prefix)
        case "head":
            return HeadExercise(task)
        case "generator":
            return GeneratorExercise()
        case _:
            return PlainExercise()


class PlainExercise:
    """Of what is no module: made, and asked by the checks of its kind."""

    is_module = False

    def __init__(self) -> None:
        self.supplied: dict[str, Any] = {}

    def inputs(self, module: Any) -> Any:
        """Nothing."""

    def answers(self, module: Any, inputs: Any) -> dict[str, Any]:
        """Nothing."""
        return {}

    def loss(self, module: Any, inputs: Any) -> "Tensor":
        """There is none."""
        raise NotImplementedError


@dataclass
class EncoderExercise:
    """A batch of tiny rows."""

    component: Component
    declared: Mapping[str, list[Any]]

    is_module = True

    def __post_init__(self) -> None:
        self.supplied: dict[str, Any] = {}

    def rows(self, module: Any) -> list[Any]:
        """Of its modality."""
        return rows((*self.component.consumes, module.modality)[0], self.declared)

    def inputs(self, module: Any) -> Any:
        """One batch."""
        return module.processor.collate(module.processor.prepare(self.rows(module)))

    def answers(self, module: Any, inputs: Any) -> dict[str, Any]:
        """Pooled features, and those of real tokens."""
        return real_features(module(inputs))

    def loss(self, module: Any, inputs: Any) -> "Tensor":
        """A random projection: the sum of squares of normalized features is a constant."""
        return projection(real_features(module(inputs)))


class FusionExercise:
    """Seeded features of two inputs; to one that makes a prefix, the width of its vectors is supplied too."""

    is_module = True

    def __init__(self, *, has_tokens: bool = False, is_prefix: bool = False) -> None:
        self.supplied: dict[str, Any] = {"dims": dict(DIMS), **({"dim": D} if is_prefix else {})}
        self.has_tokens = has_tokens

    def inputs(self, module: Any) -> dict[str, Features]:
        """Pooled features (B, D) by input, with tokens (B, T, D) for one that reads them."""
        import torch

        made = torch.Generator().manual_seed(1)
        pooled = {name: torch.randn(B, dim, generator=made) for name, dim in DIMS.items()}
        if not self.has_tokens:
            return {name: Features(pooled_BD) for name, pooled_BD in pooled.items()}
        mask_BT = torch.arange(T) <= (torch.arange(B) % T)[:, None]
        tokens = {name: torch.randn(B, T, dim, generator=made) for name, dim in DIMS.items()}
        return {name: Features(pooled[name], tokens[name] * mask_BT[..., None], mask_BT) for name in DIMS}

    def answers(self, module: Any, inputs: Any) -> dict[str, Any]:
        """What became of them."""
        return real_features(module(inputs))

    def loss(self, module: Any, inputs: Any) -> "Tensor":
        """A random projection."""
        return projection(real_features(module(inputs)))


class HeadExercise:
    """Features from which targets of one task can be learned."""

    is_module = True

    def __init__(self, task: str) -> None:
        self.task = task
        self.target = (
            Target(task, mean=50.0, std=10.0) if task == "regression" else Target(task, classes=CLASSES)
        )
        self.supplied: dict[str, Any] = {"dim": D, "target": self.target}

    @property
    def targets(self) -> "Tensor":
        """As the core encodes them; every class occurs."""
        import torch

        index_B = torch.arange(B) % C
        match self.task:
            case "retrieval":
                return torch.arange(B)[:, None].expand(B, 2)
            case "multilabel":
                return torch.stack([index_B == 0, index_B < 2, index_B == 2], dim=1).float()
            case "regression":
                return 50 + 10 * torch.randn(B, generator=torch.Generator().manual_seed(1))
            case "token_classification":
                tags_BT = (torch.arange(B)[:, None] + torch.arange(T)) % C
                return tags_BT.masked_fill(~self.mask_BT, -100)
            case _:
                return index_B

    @property
    def mask_BT(self) -> "Tensor":  # noqa: N802 - a shape suffix
        """Rows of one to T words."""
        import torch

        return torch.arange(T) <= (torch.arange(B) % T)[:, None]

    def inputs(self, module: Any) -> Features:
        """Features that tell the targets apart, with noise."""
        import torch
        from torch.nn.functional import one_hot

        made = torch.Generator().manual_seed(2)
        pooled_BD, tokens_BTD = torch.randn(B, D, generator=made), torch.randn(B, T, D, generator=made)
        match self.task:
            case "token_classification":
                tokens_BTD[..., :C] += 4 * one_hot(self.targets.clamp(min=0), C)
            case "classification":
                pooled_BD[:, :C] += 4 * one_hot(self.targets, C)
            case "multilabel":
                pooled_BD[:, :C] += 4 * self.targets
            case "retrieval":
                pooled_BD[:, D // 2 :] = pooled_BD[:, : D // 2] + 0.5 * pooled_BD[:, D // 2 :]
            case "regression":
                pooled_BD[:, 0] = (self.targets - 50) / 10
        return Features(pooled_BD, tokens_BTD * self.mask_BT[..., None], self.mask_BT)

    def answers(self, module: Any, inputs: Any) -> dict[str, Any]:
        """Outputs; of real words only."""
        outputs = module(inputs)
        return {"outputs": outputs[self.mask_BT] if self.task == "token_classification" else outputs}

    def loss(self, module: Any, inputs: Any) -> "Tensor":
        """The head's own."""
        loss: Tensor = module.loss(module(inputs), self.targets)
        return loss


class GeneratorExercise:
    """A few prompts, answered greedily."""

    is_module = True

    def __init__(self) -> None:
        self.supplied: dict[str, Any] = {}

    def inputs(self, module: Any) -> tuple[str, ...]:
        """Prompts."""
        return PROMPTS

    def answers(self, module: Any, inputs: Any) -> dict[str, Any]:
        """Texts."""
        return {"texts": [one.text for one in module.generate(list(inputs), max_new_tokens=8)]}

    def loss(self, module: Any, inputs: Any) -> "Tensor":
        """There is none."""
        raise NotImplementedError


def real_features(features: Features) -> "dict[str, Tensor]":
    """Pooled features (B, D), and token features without padding (N, D) where there are any."""
    found = {"pooled features": features.pooled_BD}
    if features.tokens_BTD is not None and features.mask_BT is not None:
        found["token features"] = features.tokens_BTD[features.mask_BT]
    return found


def projection(answers: "Mapping[str, Tensor]") -> "Tensor":
    """The sum of all of them, weighted by seeded random numbers."""
    import torch

    made = torch.Generator().manual_seed(3)
    parts = [(one.float() * torch.randn(one.shape, generator=made)).sum() for one in answers.values()]
    return torch.stack(parts).sum()
