"""Metrics of well-known names, computed by scikit-learn."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import Tensor


def reference(task: str, outputs: "Tensor", targets: "Tensor") -> dict[str, float]:
    """What each metric of a task ought to be, by the names it may go by."""
    import warnings

    computed: Callable[[Any, Any], dict[str, float]] = _regression if task == "regression" else _classes
    if task == "regression":
        truth, guess = targets, outputs
    elif task == "multilabel":
        truth, guess = targets.int(), (outputs > 0).int()
    else:
        counts = targets.flatten() != -100
        truth, guess = targets.flatten()[counts], outputs.argmax(dim=-1).flatten()[counts]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of a class that occurs on one side only
        found = computed(truth.numpy(), guess.numpy())
    if task == "multilabel":
        found["subset_accuracy"] = found.pop("accuracy")
    return found


def _classes(truth: Any, guess: Any) -> dict[str, float]:
    from sklearn import metrics

    found = {"accuracy": float(metrics.accuracy_score(truth, guess))}
    for average in ("macro", "micro"):
        found[f"{average}_f1"] = float(metrics.f1_score(truth, guess, average=average, zero_division=0))
    return found


def _regression(truth: Any, guess: Any) -> dict[str, float]:
    import numpy as np
    from sklearn import metrics

    mse = float(metrics.mean_squared_error(truth, guess))
    return {
        "mse": mse,
        "rmse": mse**0.5,
        "mae": float(metrics.mean_absolute_error(truth, guess)),
        "r2": float(metrics.r2_score(truth, guess)),
        "pearson": float(np.corrcoef(truth, guess)[0, 1]),
    }
