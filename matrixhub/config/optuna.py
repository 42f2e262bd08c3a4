"""``hydra/sweeper=optuna``: a search over what is swept, by Optuna's own ask and tell.

Hydra's plugin for Optuna holds on to Optuna 2. Trials come in batches, and a batch is planned as one graph,
so that trials that differ in their heads encode once.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import ChoiceSweep, IntervalSweep, Override, RangeSweep

from matrixhub.errors import ConfigError

if TYPE_CHECKING:
    from optuna.distributions import BaseDistribution
    from optuna.study import Study
    from optuna.trial import Trial

NAME = "optuna"
PRODUCT = "product"


@dataclass
class OptunaConfig:
    """Trials chosen by Optuna; needs ``pip install 'matrixhub[optuna]'``."""

    name: str = NAME
    num_trials: int = 20
    """How many, in all."""
    batch_size: int = 4
    """Trials that are chosen, planned and run together."""
    objective: str = "mean"
    """What is made as good as can be: the main metric of one product, by name, or the mean over all."""
    seed: int | None = 0
    """Of the sampler (tree-structured Parzen estimators, Bergstra et al. 2011)."""
    params: dict[str, Any] | None = field(default=None)
    """What is swept, as in Hydra's own sweeper, for a search kept as a config; what is typed wins."""


class OptunaSweeper:
    """Hydra's sweeper protocol. Every trial runs on all the products that are swept over.

    Args:
        options: as in ``OptunaConfig``.
        launcher: runs jobs; the value of one is its main metric, larger is better, None where it failed.
    """

    def __init__(self, options: Mapping[str, Any], launcher: Any) -> None:
        self.options, self.launcher = options, launcher

    def sweep(self, arguments: Sequence[str]) -> None:
        """Ask, run, tell, batch by batch.

        Raises:
            ConfigError: nothing to search over, an option that cannot be right, Optuna is not installed.
        """
        study = _study(self.options)
        typed = OverridesParser.create().parse_overrides([*self._kept(), *arguments])
        overrides = {override.get_key_element(): override for override in typed}
        products = [""]
        if PRODUCT in overrides and overrides[PRODUCT].is_sweep_override():
            products = [f"{PRODUCT}={name}" for name in _choices(overrides.pop(PRODUCT))]
        swept = {key: _distribution(o) for key, o in overrides.items() if o.is_sweep_override()}
        if not swept:
            raise ConfigError(
                "Nothing to search over: add trainer.lr=interval(1e-4,1e-1) or head=linear,mlp."
            )
        fixed = [o.input_line or "" for key, o in overrides.items() if key not in swept]
        done = 0
        while done < self.options["num_trials"]:
            size = min(self.options["batch_size"], self.options["num_trials"] - done)
            trials = [study.ask(swept) for _ in range(size)]
            self._run(study, trials, fixed, products=products, first=done * len(products))
            done += size

    def _run(
        self,
        study: "Study",
        trials: "Sequence[Trial]",
        fixed: Sequence[str],
        *,
        products: list[str],
        first: int,
    ) -> None:
        jobs = [
            [
                *fixed,
                *(f"{key}={_typed(value)}" for key, value in trial.params.items()),
                *filter(None, [product]),
            ]
            for trial in trials
            for product in products
        ]
        returned = self.launcher.launch(jobs, initial_job_idx=first)
        names = [product.partition("=")[2] for product in products]
        for number, trial in enumerate(trials):
            some = returned[number * len(products) : (number + 1) * len(products)]
            values = dict(zip(names, (one.return_value for one in some), strict=True))
            _tell(study, trial, self._objective(values))

    def _objective(self, values: Mapping[str, float | None]) -> float | None:
        objective = self.options["objective"]
        if objective != "mean":
            if objective not in values:
                allowed = ", ".join(("mean", *filter(None, values)))
                raise ConfigError(f"hydra.sweeper.objective={objective}: allowed are {allowed}.")
            return values[objective]
        known = [value for value in values.values() if value is not None]
        return sum(known) / len(known) if len(known) == len(values) else None

    def _kept(self) -> Iterator[str]:
        return (f"{key}={value}" for key, value in (self.options["params"] or {}).items())


def _study(options: Mapping[str, Any]) -> "Study":
    for key in ("num_trials", "batch_size"):
        if options[key] < 1:
            raise ConfigError(f"hydra.sweeper.{key}={options[key]}: must be at least 1.")
    try:
        import optuna
    except ImportError as error:
        raise ConfigError("A search needs Optuna: pip install 'matrixhub[optuna]'") from error
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    # Trials of a batch are chosen without each other's outcome: this keeps them apart.
    sampler = optuna.samplers.TPESampler(seed=options["seed"], constant_liar=True)
    return optuna.create_study(direction="maximize", sampler=sampler)


def _tell(study: "Study", trial: "Trial", value: float | None) -> None:
    from optuna.trial import TrialState

    if value is None or not math.isfinite(value):
        study.tell(trial, state=TrialState.FAIL)
    else:
        study.tell(trial, value)


def _distribution(override: Override) -> "BaseDistribution":
    """What a sweep says of the values between which to choose; ``tag(log, …)`` searches their logarithm."""
    from optuna import distributions

    sweep = override.value()
    if isinstance(sweep, IntervalSweep):
        log, low, high = "log" in sweep.tags, sweep.start, sweep.end
        if isinstance(low, int) and isinstance(high, int):
            return distributions.IntDistribution(low, high, log=log)
        return distributions.FloatDistribution(float(low or 0), float(high or 0), log=log)
    if isinstance(sweep, RangeSweep | ChoiceSweep) or override.is_discrete_sweep():
        return distributions.CategoricalDistribution(_choices(override))
    raise ConfigError(f"'{override.input_line}' cannot be searched over: use interval(), range() or a,b,c.")


def _typed(value: Any) -> str:
    """A value as a person would type it."""
    return f"{value:.6g}" if isinstance(value, float) else str(value)


def _choices(override: Override) -> list[str]:
    """Each value as it is typed."""
    return [str(value) for value in override.sweep_string_iterator()]
