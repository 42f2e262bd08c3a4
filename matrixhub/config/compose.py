"""Overrides to jobs, by Hydra's own grammar, composer and sweepers.

Nothing here touches Hydra's global state, so it composes twice in one process, in a notebook, and
inside another Hydra application.
"""

import contextlib
import copy
import re
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from hydra import version
from hydra._internal.callbacks import Callbacks
from hydra._internal.config_loader_impl import ConfigLoaderImpl
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from hydra.core.plugins import Plugins
from hydra.core.utils import JobReturn, JobStatus
from hydra.types import HydraContext, RunMode
from omegaconf import DictConfig, OmegaConf, open_dict

from matrixhub.config import optuna
from matrixhub.config.messages import COMPOSE_FAULTS, FAULTS, explain
from matrixhub.config.search import search_path
from matrixhub.config.strict import refuse_unknown
from matrixhub.errors import ConfigError

CONFIG_NAME = "config"
_BARE, _BARE_IN_MAPPING = re.compile(r"[^,=\[\]()]+"), re.compile(r"[^,=:\[\]{}()]+")
HYDRA_VERSION = "1.3"
"""Whose behaviour is ours; an application around us may have chosen another for itself."""


@dataclass(frozen=True, slots=True)
class Job:
    """One resolved config of a sweep, or of a single run.

    Attributes:
        config: plain data, typed and resolved; fields nobody filled in hold ``"???"``.
        choices: option chosen in each Hydra group.
        overrides: what was typed for it.
    """

    config: dict[str, Any]
    choices: dict[str, str]
    overrides: tuple[str, ...]


Execute = Callable[[list[Job]], Sequence[Any]]


class Composer:
    """Composes overrides against one search path.

    Args:
        config_dirs: the user's own folders of YAML, laid out like ``conf/``; they win over presets.
    """

    def __init__(self, config_dirs: Sequence[Path] = ()) -> None:
        for folder in config_dirs:
            if not folder.is_dir():
                raise ConfigError(f"--config-dir {folder}: there is no such folder.")
        self.loader = ConfigLoaderImpl(search_path(list(config_dirs)))

    def compose(self, overrides: Sequence[str]) -> Job:
        """One job.

        Raises:
            ConfigError: unknown or missing keys and names, wrong types, bad syntax.
        """
        overrides = quoted(overrides)
        with self.explained(overrides, COMPOSE_FAULTS):
            return self._job(self._load(overrides, RunMode.RUN), overrides)

    def sweep(self, overrides: Sequence[str], execute: Execute, *, multirun: bool = False) -> None:
        """Hand ``execute`` every batch of jobs that the overrides name.

        A single run is a batch of one. A sweep is expanded by its Hydra sweeper: the basic one gives
        all jobs at once, an optimizer gives batch after batch and reads what ``execute`` returns.

        Args:
            overrides: Hydra overrides.
            execute: takes jobs, returns one value for each.
            multirun: sweep over comma-separated values; a config may say so too (``matrix=demo``).

        Raises:
            ConfigError: as ``compose``.
        """
        overrides = quoted(overrides)
        chosen = {override.partition("=")[0] for override in overrides}
        if not multirun and "product" in chosen and "matrix" not in chosen:
            # The common case, composed once. A config may still turn out to hold a sweep.
            with self.explained(overrides, COMPOSE_FAULTS):
                config = self._load(overrides, RunMode.RUN)
                job = None if config.hydra.mode == RunMode.MULTIRUN else self._job(config, overrides)
            if job:
                execute([job])
                return
        # Only what says how to sweep: a key such as product.source.limit is unknown until a product is
        # chosen, which each job does for itself.
        how, what = _split_overrides(overrides)
        sweeps = multirun or "matrix" in chosen
        with self.explained(overrides, COMPOSE_FAULTS):
            master = self._load(
                how if sweeps else overrides, RunMode.MULTIRUN, validate_sweep_overrides=multirun
            )
        if not multirun and master.hydra.mode != RunMode.MULTIRUN:
            execute([self.compose(overrides)])
            return
        launcher = _PlanLauncher(self, master, execute)
        with tempfile.TemporaryDirectory() as scratch, self.explained(overrides):
            # Sweepers write a multirun.yaml of their own; our run folder holds the plan instead.
            master.hydra.sweep.dir = scratch
            sweeper = self._sweeper(master, launcher)
            sweeper.sweep(arguments=what)

    def _sweeper(self, master: DictConfig, launcher: "_PlanLauncher") -> Any:
        options = OmegaConf.to_container(master.hydra.sweeper, resolve=True)
        if isinstance(options, dict) and options.get("name") == optuna.NAME:
            return optuna.OptunaSweeper({str(k): v for k, v in options.items()}, launcher)
        plugins = Plugins.instance()
        context = HydraContext(config_loader=self.loader, callbacks=Callbacks())
        # Hydra lets a launcher come only from its own namespace package, which one bad module breaks
        # for every application; so for this one call the sweeper is handed ours.
        plugins.__dict__["instantiate_launcher"] = lambda **_: launcher
        try:
            sweeper = plugins.instantiate_sweeper(
                hydra_context=context, task_function=lambda _: None, config=master
            )
        finally:
            del plugins.__dict__["instantiate_launcher"]
        # Each job is composed, and so checked, by the launcher: once is enough.
        sweeper.__dict__["validate_batch_is_legal"] = lambda batch: None
        return sweeper

    def _load(self, overrides: Sequence[str], mode: RunMode, **options: Any) -> DictConfig:
        return self.loader.load_configuration(CONFIG_NAME, list(overrides), mode, **options)

    def _job(self, config: DictConfig, overrides: Sequence[str]) -> Job:
        choices = {k: v for k, v in config.hydra.runtime.choices.items() if not k.startswith("hydra/")}
        typed = list(config.hydra.overrides.task)
        with open_dict(config):
            del config["hydra"]
        refuse_unknown(config, typed, self.loader)
        plain = OmegaConf.to_container(config, resolve=True, throw_on_missing=False)
        assert isinstance(plain, dict)
        chosen = {group: str(option) for group, option in choices.items() if option is not None}
        return Job(config={str(k): v for k, v in plain.items()}, choices=chosen, overrides=tuple(overrides))

    @contextlib.contextmanager
    def explained(
        self, overrides: Sequence[str], faults: tuple[type[Exception], ...] = FAULTS
    ) -> Iterator[None]:
        """Hydra as we want it, its errors as ours."""
        base = version.VersionBase.instance()
        others = base.version_base
        version.setbase(HYDRA_VERSION)
        try:
            yield
        except faults as error:
            raise explain(error, overrides, self.loader) from error
        finally:
            base.version_base = others


@dataclass(slots=True)
class _PlanLauncher:
    """Where a sweep becomes a plan: Hydra's launcher protocol, handing over all jobs of a batch."""

    composer: Composer
    master: DictConfig
    execute: Execute
    _composed: dict[tuple[str, ...], DictConfig] = field(default_factory=dict)

    def launch(self, job_overrides: Sequence[Sequence[str]], initial_job_idx: int) -> list[JobReturn]:
        if not job_overrides:
            raise ConfigError("The sweep is empty: a range() or glob() in it matches nothing.")
        jobs = []
        for overrides in job_overrides:
            with self.composer.explained(overrides, COMPOSE_FAULTS):
                jobs.append(self.composer._job(self._config(overrides), overrides))
        values = self.execute(jobs)
        return [_returned(value) for value in values]

    def _config(self, overrides: Sequence[str]) -> DictConfig:
        """The config of a job; what it shares with jobs of other values, but equal options, is composed once.

        Most of a composition goes into finding and merging the options, and Hydra applies values after that.
        """
        loader = self.composer.loader
        parsed = OverridesParser.create().parse_overrides(list(overrides))
        values = [override for override in parsed if _is_value(override, loader)]
        options = tuple(str(override.input_line) for override in parsed if override not in values)
        if options not in self._composed:
            self._composed[options] = loader.load_sweep_config(self.master, list(options))
        config = copy.deepcopy(self._composed[options])
        loader._apply_overrides_to_config(values, config)
        config.hydra.overrides.task.extend([str(override.input_line) for override in values])
        return config


def quoted(overrides: Sequence[str]) -> list[str]:
    """Overrides whose values, where they are not ASCII, stand in quotes: Hydra's grammar wants it so.

    ``product.name=情感`` becomes ``product.name='情感'``; each element of a list or sweep alone.
    """

    def one(override: str) -> str:
        key, equals, value = override.partition("=")
        if value.isascii() or any(mark in value for mark in ("'", '"', "${")):
            return override
        bare = _BARE_IN_MAPPING if "{" in value else _BARE
        return f"{key}{equals}{bare.sub(lambda found: _in_quotes(found[0]), value)}"

    return [one(override) for override in overrides]


def _in_quotes(bare: str) -> str:
    text = bare.strip()
    return bare if text.isascii() else bare.replace(text, f"'{text}'")


def _is_value(override: Override, loader: ConfigLoaderImpl) -> bool:
    """Whether it sets a value, and chooses no option: told apart as Hydra does it in its defaults list."""
    group = override.key_or_group
    is_hydras = group.startswith(("hydra.", "hydra/"))
    return not is_hydras and (not loader.repository.group_exists(group) or isinstance(override.value(), dict))


def _split_overrides(overrides: Sequence[str]) -> tuple[list[str], list[str]]:
    """Those that say how to sweep (``matrix=`` and what is Hydra's own), and those of the jobs."""
    keys = [override.lstrip("+~").partition("=")[0] for override in overrides]
    hydras = [key.startswith(("hydra.", "hydra/")) for key in keys]
    how = [
        o for o, key, is_hydras in zip(overrides, keys, hydras, strict=True) if is_hydras or key == "matrix"
    ]
    return how, [o for o, is_hydras in zip(overrides, hydras, strict=True) if not is_hydras]


def _returned(value: Any) -> JobReturn:
    result = JobReturn(status=JobStatus.COMPLETED)
    result.return_value = value
    return result
