"""The Python face: the same things the command line does, as functions."""

import contextlib
import dataclasses
import logging
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, overload

from matrixhub.errors import MatrixHubError
from matrixhub.plugins import hub
from matrixhub.registry import Component
from matrixhub.run.launch import Run, execute, follow, is_rank

if TYPE_CHECKING:
    from matrixhub.config.compose import Execute, Job
    from matrixhub.plan import Plan
    from matrixhub.run.product import Product

log = logging.getLogger("matrixhub")

Overrides = Sequence[str] | Sequence[Sequence[str]]

__all__ = ["Run", "create", "list_components", "load", "plan", "run"]


def plan(
    overrides: Overrides = (),
    *,
    multirun: bool = False,
    config_dir: str | Path | None = None,
    force: bool = False,
) -> "Plan":
    """What ``run`` with the same arguments would do, without doing it (and without torch).

    Of a search, which goes on from what its trials gave, it is the first batch.

    Args:
        overrides: Hydra overrides, such as ``["product=news", "head=mlp"]``, or a list of such lists, one for
            each cell or sweep, all of which are planned as one graph.
        multirun: sweep over comma-separated values, as ``-m`` does.
        config_dir: a folder of your own YAML, laid out like ``conf/``.
        force: run cells again that an earlier run under the same ``output_dir`` has finished.

    Raises:
        ConfigError: with what to type instead.
    """
    plans: list[Plan] = []

    def keep(jobs: "list[Job]") -> list[None]:
        plans.append(_plan(jobs, force=force))
        raise _Enough

    with contextlib.suppress(_Enough):
        _sweep(overrides, keep, multirun=multirun, config_dir=config_dir)
    return plans[0]


def run(
    overrides: Overrides = (),
    *,
    multirun: bool = False,
    config_dir: str | Path | None = None,
    force: bool = False,
    quiet: bool = False,
) -> Run:
    """Plan and execute: train, evaluate and save every product that the overrides name.

    What an earlier run has finished is taken over, records and artifacts; failed and missing cells run.

    Args:
        overrides, multirun, config_dir, force: as for ``plan``.
        quiet: say nothing on stderr.

    Returns:
        The run: its folder, its records, its trained products through ``Run.load(name)``.

    Raises:
        ConfigError: with what to type instead. A cell that fails is a record with ``status: failed``.
    """
    if is_rank() and os.environ["RANK"] != "0":
        return follow()
    runs: list[Run] = []

    def work(jobs: "list[Job]") -> list[float | None]:
        last = runs[-1] if runs else None
        # What an earlier batch of this search has done is done, forced or not.
        here = {r["cell"]: r for r in last.records if r["status"] == "done"} if last else {}
        runs.append(execute(_plan(jobs, force=force, here=here), quiet=quiet, into=last))
        return _values(jobs, runs[-1])

    _sweep(overrides, work, multirun=multirun, config_dir=config_dir)
    _report(runs[-1])
    return runs[-1]


def _report(run: Run) -> None:
    """Write the report beside the records; a run whose report cannot be written is a run all the same."""
    from matrixhub.report.write import write_report

    try:
        write_report(run.folder)
    except MatrixHubError as error:
        log.warning("%s Later: matrixhub report %s", error, run.folder)


class _Enough(Exception):  # noqa: N818 - it is no error
    """The first batch is planned; a sweeper that has more is not asked for them."""


def _sweep(
    overrides: Overrides, execute: "Execute", *, multirun: bool, config_dir: str | Path | None
) -> None:
    """Hand over the jobs that the overrides name; those of a list of lists all at once."""
    from matrixhub.config.compose import Composer

    composer = Composer([Path(config_dir)] if config_dir else [])
    several = [one for one in overrides if not isinstance(one, str)]
    if not several:
        composer.sweep([str(one) for one in overrides], execute, multirun=multirun)
        return
    jobs: list[Job] = []

    def collect(some: "list[Job]") -> list[None]:
        jobs.extend(some)
        return [None] * len(some)

    for one in several:
        composer.sweep(one, collect, multirun=multirun)
    execute(jobs)


def _plan(jobs: "list[Job]", *, force: bool, here: Mapping[str, Any] | None = None) -> "Plan":
    from matrixhub.plan import make_plan
    from matrixhub.plan.cost import estimate
    from matrixhub.plan.history import History
    from matrixhub.plan.identity import Surroundings

    earlier = here or {} if force else History(jobs[0].config["output_dir"])
    made = make_plan(jobs, hub(), look=Surroundings(), earlier=earlier)
    return dataclasses.replace(made, seconds=estimate(made))


def _values(jobs: "list[Job]", done: Run) -> list[float | None]:
    """What a sweeper learns of each job."""
    from matrixhub.plan.build import cell_ids
    from matrixhub.plan.history import main_value
    from matrixhub.plan.identity import Surroundings

    records = {record["cell"]: record for record in done.records}
    found = [records.get(cell) for cell in cell_ids(jobs, hub(), Surroundings())]
    return [main_value(record) if record else None for record in found]


@overload
def load(folder: str | Path, *, device: str | None = None) -> "Product": ...  # type: ignore[overload-overlap]


@overload
def load(folder: Sequence[str | Path], *, device: str | None = None) -> "list[Product]": ...


def load(
    folder: str | Path | Sequence[str | Path], *, device: str | None = None
) -> "Product | list[Product]":
    """A trained product from its artifact: call it on one row or on a list of rows.

    Args:
        folder: the artifact, or a list of them; what their encoders have in common is then in memory once.
        device: such as ``"cuda:0"``; None takes an accelerator where there is one.

    Raises:
        ArtifactError, UnsafeArtifactError, PluginError: it is damaged, unsafe, or needs a plugin.
    """
    from matrixhub.run.saved import load_product, load_products

    if isinstance(folder, str | Path):
        return load_product(folder, device=device)
    return load_products(folder, device=device)


def create(kind: str, name: str, **options: Any) -> Any:
    """A component as a plain object; encoders are ``nn.Module`` with an ``encode(values)`` convenience.

    Args:
        kind: such as ``"encoder"``.
        name: full name, or alias where unique.
        options: fields of its config; see ``matrixhub show NAME``.

    Raises:
        ConfigError, PluginError: unknown name or option, or a plugin that was set aside.
    """
    from matrixhub.run.create import create_component

    return create_component(kind, name, **options)


def list_components(kind: str | None = None) -> list[Component]:
    """Registered components of one kind, or of all."""
    return hub().registry.of_kind(kind)
