"""The Python face: the same things the command line does, as functions."""

import dataclasses
import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from matrixhub.plugins import hub
from matrixhub.registry import Component
from matrixhub.run.launch import Run, execute, follow, is_rank

if TYPE_CHECKING:
    from matrixhub.plan import Plan
    from matrixhub.run.product import Product

__all__ = ["Run", "create", "list_components", "load", "plan", "run"]


def plan(
    overrides: Sequence[str] = (),
    *,
    multirun: bool = False,
    config_dir: str | Path | None = None,
    force: bool = False,
) -> "Plan":
    """What ``run`` with the same arguments would do, without doing it (and without torch).

    Args:
        overrides: Hydra overrides, such as ``["product=news", "head=mlp"]``.
        multirun: sweep over comma-separated values, as ``-m`` does.
        config_dir: a folder of your own YAML, laid out like ``conf/``.
        force: run cells again that an earlier run under the same ``output_dir`` has finished.

    Raises:
        ConfigError: with what to type instead.
    """
    from matrixhub.config.compose import Composer, Job
    from matrixhub.plan import make_plan
    from matrixhub.plan.cost import estimate
    from matrixhub.plan.history import History
    from matrixhub.plan.identity import Surroundings

    plans: list[Plan] = []

    def keep(jobs: list[Job]) -> list[None]:
        earlier = {} if force else History(jobs[0].config["output_dir"])
        made = make_plan(jobs, hub(), look=Surroundings(), earlier=earlier)
        plans.append(dataclasses.replace(made, seconds=estimate(made)))
        return [None] * len(jobs)

    Composer([Path(config_dir)] if config_dir else []).sweep(overrides, keep, multirun=multirun)
    return plans[0]


def run(
    overrides: Sequence[str] = (),
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
    return execute(plan(overrides, multirun=multirun, config_dir=config_dir, force=force), quiet=quiet)


def load(folder: str | Path, *, device: str | None = None) -> "Product":
    """A trained product from its artifact: call it on one row or on a list of rows.

    Args:
        folder: the artifact.
        device: such as ``"cuda:0"``; None takes an accelerator where there is one.

    Raises:
        ArtifactError, UnsafeArtifactError, PluginError: it is damaged, unsafe, or needs a plugin.
    """
    from matrixhub.run.product import load_product

    return load_product(folder, device=device)


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
