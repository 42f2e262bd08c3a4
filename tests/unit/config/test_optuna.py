"""A search by Optuna: trials in batches, each on every product, told what they gave."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import optuna
import pytest
from hydra.core.utils import JobReturn

from matrixhub.config import optuna as searching
from matrixhub.config.compose import Composer, Job, _returned
from matrixhub.config.optuna import OptunaConfig, OptunaSweeper
from matrixhub.errors import ConfigError

LR = "trainer.lr=tag(log,interval(1e-4,1.0))"


@dataclass
class Launcher:
    """Gives every job the value that ``score`` makes of its overrides."""

    score: Any
    batches: list[list[dict[str, str]]] = field(default_factory=list)

    def launch(self, job_overrides: Sequence[Sequence[str]], initial_job_idx: int) -> list[JobReturn]:
        assert initial_job_idx == sum(map(len, self.batches))
        jobs = [dict(one.split("=", 1) for one in overrides) for overrides in job_overrides]
        self.batches.append(jobs)
        return [_returned(self.score(job)) for job in jobs]


@pytest.fixture
def studies(monkeypatch: pytest.MonkeyPatch) -> list[optuna.Study]:
    """Every study that is made."""
    made: list[optuna.Study] = []
    monkeypatch.setattr(searching, "_study", lambda o: made.append(STUDY(o)) or made[-1])  # type: ignore[func-returns-value]
    return made


STUDY = searching._study


def search(score: Any, *overrides: str, **options: Any) -> Launcher:
    launcher = Launcher(score)
    OptunaSweeper(vars(OptunaConfig(**options)), launcher).sweep(overrides)
    return launcher


def test_a_batch_has_every_trial_on_every_product() -> None:
    options = {"num_trials": 5, "batch_size": 2}
    done = search(lambda job: 0.0, "product=a,b", "head=linear,mlp", LR, "trainer.seed=3", **options)
    assert [len(batch) for batch in done.batches] == [4, 4, 2]
    for batch in done.batches:
        assert [job["product"] for job in batch] == ["a", "b"] * (len(batch) // 2)
        assert all(job["trainer.seed"] == "3" and job["head"] in ("linear", "mlp") for job in batch)
        for one, other in zip(batch[::2], batch[1::2], strict=True):
            assert {**one, "product": ""} == {**other, "product": ""}


@pytest.mark.parametrize(("objective", "value"), [("mean", 2.0), ("b", 3.0)])
def test_the_objective_is_one_product_or_the_mean(
    objective: str, value: float, studies: list[optuna.Study]
) -> None:
    scores = {"a": 1.0, "b": 3.0}
    search(lambda job: scores[job["product"]], "product=a,b", LR, num_trials=2, objective=objective)
    assert [trial.value for trial in studies[0].trials] == [value, value]


def test_a_trial_that_failed_is_told_so(studies: list[optuna.Study]) -> None:
    search(lambda job: None if job["product"] == "b" else 1.0, "product=a,b", LR, num_trials=2)
    assert {trial.state for trial in studies[0].trials} == {optuna.trial.TrialState.FAIL}
    search(lambda job: float("nan"), "product=a", LR, num_trials=1)
    assert studies[1].trials[0].state == optuna.trial.TrialState.FAIL


def test_it_finds_what_is_better(studies: list[optuna.Study]) -> None:
    options = {"num_trials": 40, "batch_size": 5}
    search(lambda job: -abs(float(job["trainer.lr"]) - 0.01), "product=a", LR, **options)
    assert studies[0].best_value > -0.003


def test_a_seed_makes_the_same_search() -> None:
    one, other = (search(lambda job: 0.0, LR, num_trials=4).batches for _ in range(2))
    assert one == other != search(lambda job: 0.0, LR, num_trials=4, seed=1).batches


@pytest.mark.parametrize(
    ("override", "allowed"),
    [
        ("a=int(interval(1,3))", {"1", "2", "3"}),
        ("a=range(2,7,2)", {"2", "4", "6"}),
        ("a=choice(x,y)", {"x", "y"}),
        ("a=[1,2],[3]", {"[1,2]", "[3]"}),
    ],
)
def test_what_can_be_searched_over(override: str, allowed: set[str]) -> None:
    done = search(lambda job: 0.0, override, num_trials=24, batch_size=24)
    assert {job["a"] for job in done.batches[0]} == allowed


@pytest.mark.parametrize(
    ("overrides", "options", "message"),
    [
        (["product=a,b", "head=mlp"], {}, "Nothing to search over: add trainer.lr=interval"),
        ([LR], {"num_trials": 0}, "hydra.sweeper.num_trials=0: must be at least 1"),
        (["product=a,b", LR], {"objective": "c"}, "allowed are mean, a, b"),
    ],
)
def test_what_cannot_be_searched_says_what_to_type(
    overrides: list[str], options: dict[str, Any], message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        search(lambda job: 0.0, *overrides, **options)


def test_a_search_is_plain_hydra() -> None:
    batches: list[list[Job]] = []

    def keep(jobs: list[Job]) -> list[float]:
        batches.append(jobs)
        return [job.config["trainer"]["lr"] for job in jobs]

    overrides = ["product=toy", "encoder/text=hash", LR, "hydra/sweeper=optuna", "hydra.sweeper.num_trials=3"]
    Composer().sweep([*overrides, "hydra.sweeper.batch_size=2"], keep, multirun=True)
    assert [len(batch) for batch in batches] == [2, 1]
    rates = [job.config["trainer"]["lr"] for batch in batches for job in batch]
    assert len(set(rates)) == 3 and all(1e-4 <= rate <= 1 for rate in rates)
    with pytest.raises(ConfigError, match="num_trials"):
        Composer().sweep([*overrides, "hydra.sweeper.num_trails=2"], keep, multirun=True)
