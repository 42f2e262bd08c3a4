"""A sweep arrives as one batch of jobs, however it was written."""

from pathlib import Path

import pytest

from matrixhub.config.compose import Composer, Job
from matrixhub.errors import ConfigError, TrainingError

TOY = ["product=toy", "encoder/text=hash"]
TINY = """\
# @package _global_
hydra:
  mode: MULTIRUN
  sweeper:
    params:
      product: toy
      encoder/text: hash
      head: linear,mlp
      trainer.seed: range(2)
"""


def sweep(*overrides: str, multirun: bool = True, config_dir: Path | None = None) -> list[list[Job]]:
    batches: list[list[Job]] = []

    def keep(jobs: list[Job]) -> list[float]:
        batches.append(jobs)
        return [0.0] * len(jobs)

    Composer([config_dir] if config_dir else []).sweep(overrides, keep, multirun=multirun)
    return batches


@pytest.mark.parametrize(
    ("override", "seeds"),
    [
        ("trainer.seed=0,1,5", [0, 1, 5]),
        ("trainer.seed=range(3)", [0, 1, 2]),
        ("trainer.seed=range(1,8,3)", [1, 4, 7]),
        ("trainer.seed=choice(2,4)", [2, 4]),
        ("trainer.seed=sort(3,1,2)", [1, 2, 3]),
        ("trainer.seed=7", [7]),
    ],
)
def test_values_of_a_sweep(override: str, seeds: list[int]) -> None:
    (jobs,) = sweep(*TOY, override)
    assert [job.config["trainer"]["seed"] for job in jobs] == seeds


def test_groups_multiply_with_values_in_one_batch() -> None:
    (jobs,) = sweep(*TOY, "head=linear,mlp", "trainer.lr=1e-3,1e-2")
    assert [(j.choices["head"], j.config["trainer"]["lr"]) for j in jobs] == [
        ("linear", 1e-3), ("linear", 1e-2), ("mlp", 1e-3), ("mlp", 1e-2),
    ]  # fmt: skip
    assert jobs[3].overrides[2:] == ("head=mlp", "trainer.lr=0.01")


@pytest.mark.parametrize(
    "axes",
    [
        ("trainer.lr=1e-3,1e-2", "head=linear,mlp", "trainer=frozen,finetune"),
        ("trainer.seed=1,2", "trainer={lr: 0.1},{lr: 0.2, epochs: 3}"),
        (
            "encoder.text.dim=4,8",
            "product.inputs.text.column=[a],[a,b]",
            "+product.outputs={more: {task: regression, target: x}}",
        ),
        ("~encoder/image", "cache_dir=null,here", "++trainer.epochs=1,2"),
    ],
)
def test_each_job_is_what_its_overrides_alone_compose(axes: tuple[str, ...]) -> None:
    """Jobs share what has equal options; none sees a value of another."""
    (jobs,) = sweep(*TOY, *axes)
    assert len(jobs) > 1 and len({str(job.config) for job in jobs}) == len(jobs)
    for job in jobs:
        assert Composer().compose(job.overrides) == job


def test_a_wrong_value_of_one_job_is_told_as_ever() -> None:
    with pytest.raises(ConfigError, match=r"trainer\.lrr.*Did you mean 'trainer\.lr'"):
        sweep(*TOY, "trainer.lrr=1,2")
    with pytest.raises(ConfigError, match=r"mlpp.*Did you mean 'mlp'"):
        sweep(*TOY, "head=linear,mlpp", "trainer.lr=1,2")


def test_values_below_a_group_that_is_swept_over_reach_every_job() -> None:
    (jobs,) = sweep("product=news,digits", "product.source.limit=7")
    assert [job.config["product"]["source"]["limit"] for job in jobs] == [7, 7]
    with pytest.raises(ConfigError, match=r"Unknown key 'product\.source\.limt'"):
        sweep("product=news,digits", "product.source.limt=7")


def test_glob_matches_options_of_a_group() -> None:
    (jobs,) = sweep(*TOY, "head=glob(l*)")
    assert [job.choices["head"] for job in jobs] == ["linear"]
    (jobs,) = sweep("product=toy", "encoder/text=glob(h*)")
    assert {job.choices["encoder/text"] for job in jobs} == {"hash", "hash_text"}


def test_products_that_read_different_modalities_sweep_together() -> None:
    (jobs,) = sweep("product=toy,digits")
    assert [list(job.config["product"]["inputs"]) for job in jobs] == [["text"], ["image"]]


def test_without_m_one_job_is_a_batch_of_one() -> None:
    assert [len(batch) for batch in sweep(*TOY, multirun=False)] == [1]


def test_a_config_that_holds_a_sweep_needs_no_m(tmp_path: Path) -> None:
    (tmp_path / "matrix").mkdir()
    (tmp_path / "matrix" / "tiny.yaml").write_text(TINY)
    (jobs,) = sweep("matrix=tiny", multirun=False, config_dir=tmp_path)
    assert [(j.choices["head"], j.config["trainer"]["seed"]) for j in jobs] == [
        ("linear", 0), ("linear", 1), ("mlp", 0), ("mlp", 1),
    ]  # fmt: skip


def test_what_is_typed_wins_over_the_sweep_of_a_config(tmp_path: Path) -> None:
    (tmp_path / "matrix").mkdir()
    (tmp_path / "matrix" / "tiny.yaml").write_text(TINY)
    (jobs,) = sweep("matrix=tiny", "head=mlp", "trainer.lr=0.5", multirun=False, config_dir=tmp_path)
    assert [(j.choices["head"], j.config["trainer"]["seed"]) for j in jobs] == [("mlp", 0), ("mlp", 1)]
    assert {job.config["trainer"]["lr"] for job in jobs} == {0.5}


def test_a_sweep_leaves_no_files_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    sweep(*TOY, "trainer.seed=0,1")
    assert not list(tmp_path.iterdir())


def test_an_error_of_the_execution_is_not_taken_for_one_of_the_config() -> None:
    def fail(jobs: list[Job]) -> list[float]:
        raise ValueError("not about the config")

    for multirun in (False, True):
        with pytest.raises(ValueError, match="not about the config") as raised:
            Composer().sweep([*TOY, "trainer.seed=0"], fail, multirun=multirun)
        assert not isinstance(raised.value, ConfigError)


def test_our_own_errors_pass_through_a_sweeper_unchanged() -> None:
    def fail(jobs: list[Job]) -> list[float]:
        raise TrainingError("boom")

    with pytest.raises(TrainingError, match=r"^boom$"):
        Composer().sweep([*TOY, "trainer.seed=0,1"], fail, multirun=True)
