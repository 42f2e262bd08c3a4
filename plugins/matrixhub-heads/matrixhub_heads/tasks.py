"""What a head does for each task: the loss, the prediction and the metrics of its outputs.

Positions whose target is -100 count in no loss and no metric. A metric that is not defined on a split
(a correlation with a constant, say) is 0, so that every record holds finite numbers.

Shape legend: B rows, T words of a row, C classes.
"""

from typing import Protocol

import torch
from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits, cross_entropy, mse_loss
from torchmetrics.functional import classification as tm
from torchmetrics.functional import regression as tmr

from matrixhub import ConfigError, Prediction, Target
from matrixhub_heads.entities import entity_scores, has_entities

IGNORED = -100


class Task(Protocol):
    """Loss, decoding and metrics of one task; see ``matrixhub.Head`` for the shapes."""

    level: str
    metric: str
    higher_is_better: bool

    def loss(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """Mean loss."""
        ...

    def decode(self, outputs: Tensor, mask_BT: Tensor | None = None) -> list[Prediction]:
        """One prediction a row."""
        ...

    def metrics(self, outputs: Tensor, targets: Tensor) -> dict[str, float]:
        """Over a whole split."""
        ...


def build_task(target: Target, *, label_smoothing: float = 0.0) -> Task:
    """The task of a target.

    Raises:
        ConfigError: label smoothing is out of range.
    """
    if not 0 <= label_smoothing < 1:
        raise ConfigError(f"head.label_smoothing={label_smoothing}: allowed is 0 to below 1, such as 0.1.")
    match target.task:
        case "classification":
            return Classification(target.classes, label_smoothing)
        case "multilabel":
            return Multilabel(target.classes, label_smoothing)
        case "token_classification":
            return Tagging(target.classes, label_smoothing)
        case _:
            return Regression(target.std)


class Classification:
    """One class a row: cross-entropy on logits (B, C)."""

    level = "pooled"
    metric = "accuracy"
    higher_is_better = True

    def __init__(self, classes: tuple[str, ...], label_smoothing: float) -> None:
        self.classes, self.label_smoothing = classes, label_smoothing

    def loss(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """Mean over the targets that count; 0 where none does, not NaN."""
        logits = outputs.flatten(0, -2)
        targets = targets.flatten()
        total = cross_entropy(
            logits, targets, ignore_index=IGNORED, reduction="sum", label_smoothing=self.label_smoothing
        )
        return total / (targets != IGNORED).sum().clamp(min=1)

    def decode(self, outputs: Tensor, mask_BT: Tensor | None = None) -> list[Prediction]:
        """The likeliest class, and the probability of each."""
        found = []
        for scores in outputs.softmax(-1).tolist():
            by_class = dict(zip(self.classes, scores, strict=True))
            value = max(by_class, key=lambda label: by_class[label])
            found.append(Prediction(value=value, score=by_class[value], scores=by_class))
        return found

    def metrics(self, outputs: Tensor, targets: Tensor) -> dict[str, float]:
        """Accuracy, and F1 averaged over the classes that occur."""
        predicted, num_classes = outputs.argmax(-1), len(self.classes)
        accuracy = tm.multiclass_accuracy(
            predicted, targets, num_classes, average="micro", ignore_index=IGNORED
        )
        macro_f1 = tm.multiclass_f1_score(
            predicted, targets, num_classes, average="macro", ignore_index=IGNORED
        )
        return {"accuracy": accuracy.item(), "macro_f1": macro_f1.item()}


class Multilabel:
    """Any number of classes a row: binary cross-entropy on logits (B, C); a label holds above 0.5."""

    level = "pooled"
    metric = "micro_f1"
    higher_is_better = True

    def __init__(self, classes: tuple[str, ...], label_smoothing: float) -> None:
        self.classes, self.label_smoothing = classes, label_smoothing

    def loss(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """Mean over rows and classes."""
        smooth = targets * (1 - self.label_smoothing) + self.label_smoothing / 2
        return binary_cross_entropy_with_logits(outputs, smooth)

    def decode(self, outputs: Tensor, mask_BT: Tensor | None = None) -> list[Prediction]:
        """The labels that hold, and the probability of each."""
        held = (outputs > 0).tolist()
        return [
            Prediction(
                value=[label for label, holds in zip(self.classes, row, strict=True) if holds],
                scores=dict(zip(self.classes, scores, strict=True)),
            )
            for row, scores in zip(held, outputs.sigmoid().tolist(), strict=True)
        ]

    def metrics(self, outputs: Tensor, targets: Tensor) -> dict[str, float]:
        """F1 over all decisions, F1 averaged over classes, share of rows with every label right."""
        predicted, truth, num_labels = (outputs > 0).int(), targets.int(), len(self.classes)
        micro_f1 = tm.multilabel_f1_score(predicted, truth, num_labels, average="micro")
        macro_f1 = tm.multilabel_f1_score(predicted, truth, num_labels, average="macro")
        exact = (predicted == truth).all(-1).double().mean()
        return {"micro_f1": micro_f1.item(), "macro_f1": macro_f1.item(), "exact_match": exact.item()}


class Regression:
    """One number a row: outputs (B,) are in the units of the data, the loss in units of their spread."""

    level = "pooled"
    metric = "r2"
    higher_is_better = True

    def __init__(self, std: float) -> None:
        self.std = std

    def loss(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """Mean squared error of the standardized target: 1 for a head that always says the mean."""
        return mse_loss(outputs / self.std, targets / self.std)

    def decode(self, outputs: Tensor, mask_BT: Tensor | None = None) -> list[Prediction]:
        """The number."""
        return [Prediction(value=number) for number in outputs.tolist()]

    def metrics(self, outputs: Tensor, targets: Tensor) -> dict[str, float]:
        """Share of variance explained, errors in the units of the data, correlations."""
        # float64: sums of squares of large values cancel in float32
        predicted, truth = outputs.double(), targets.double()
        found = {
            "r2": _r2(predicted, truth),
            "mae": tmr.mean_absolute_error(predicted, truth).item(),
            "rmse": tmr.mean_squared_error(predicted, truth, squared=False).item(),
            "pearson": _correlation(predicted, truth),
            "spearman": _correlation(_ranks(predicted), _ranks(truth)),
        }
        return found


class Tagging(Classification):
    """One tag a word: cross-entropy on logits (B, T, C); scored by entity where tags mark entities."""

    level = "tokens"

    def __init__(self, classes: tuple[str, ...], label_smoothing: float) -> None:
        super().__init__(classes, label_smoothing)
        self.marks_entities = has_entities(classes)
        self.metric = "entity_f1" if self.marks_entities else "macro_f1"

    def decode(self, outputs: Tensor, mask_BT: Tensor | None = None) -> list[Prediction]:
        """The likeliest tag of each real word."""
        best_BT = outputs.argmax(-1)
        mask_BT = torch.ones_like(best_BT, dtype=torch.bool) if mask_BT is None else mask_BT.bool()
        return [Prediction(value=tags) for tags in self._tags(best_BT, mask_BT)]

    def metrics(self, outputs: Tensor, targets: Tensor) -> dict[str, float]:
        """Precision, recall and F1 of whole entities (F1 averaged over tags where there are none)."""
        best_BT, counts_BT = outputs.argmax(-1), targets != IGNORED
        by_word = super().metrics(outputs.flatten(0, 1), targets.flatten())
        scores = {"tag_accuracy": by_word["accuracy"]}
        if not self.marks_entities:
            return {"macro_f1": by_word["macro_f1"], **scores}
        return {**entity_scores(self._tags(targets, counts_BT), self._tags(best_BT, counts_BT)), **scores}

    def _tags(self, index_BT: Tensor, mask_BT: Tensor) -> list[list[str]]:
        return [
            [self.classes[i] for i in index_T[mask_T].tolist()]
            for index_T, mask_T in zip(index_BT, mask_BT, strict=True)
        ]


def _r2(predicted: Tensor, truth: Tensor) -> float:
    if len(truth) < 2 or truth.max() == truth.min():
        return 0.0
    return tmr.r2_score(predicted, truth).item()


def _correlation(x: Tensor, y: Tensor) -> float:
    if x.max() == x.min() or y.max() == y.min():
        return 0.0
    # Centred and scaled first: a small spread beside a large mean would lose its digits.
    x, y = ((v - v.mean()) / v.std() for v in (x, y))
    return tmr.pearson_corrcoef(x, y).item()


def _ranks(values: Tensor) -> Tensor:
    """Ranks from 1, equal values sharing their mean rank."""
    ordered = values.sort().values
    num_below = torch.searchsorted(ordered, values)
    num_up_to = torch.searchsorted(ordered, values, right=True)
    return (num_below + 1 + num_up_to).double() / 2
