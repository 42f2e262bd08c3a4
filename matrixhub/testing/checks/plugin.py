"""Checks of a plugin as a whole: its metadata, its entry module, its YAML."""

import importlib
import importlib.metadata
import inspect
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from packaging.requirements import Requirement

import matrixhub
from matrixhub import hookspecs
from matrixhub.diagnosis import BOUNDS
from matrixhub.errors import MatrixHubError, unknown_name
from matrixhub.plugins import CORE, GROUP
from matrixhub.testing.check import PLUGIN, Skipped, check, fail, skip
from matrixhub.testing.subject import PluginSubject, told

HEAVY = (
    "torch", "torchvision", "transformers", "timm", "accelerate", "numpy", "pandas", "pyarrow", "datasets",
    "sklearn", "scipy", "safetensors", "PIL", "tokenizers",
)  # fmt: skip
BUDGET_MS = 150
"""Of processor time that importing an entry module may take beyond importing ``matrixhub``'s own hooks."""

_MEASURE = """
import importlib, json, os, sys
from matrixhub import hookspecs, registry
def spent(): return sum(os.times()[:2])
before = spent()
importlib.import_module(sys.argv[1])
after = spent()
print(json.dumps([1000 * (after - before), sorted(sys.modules)]))
"""


@check(PLUGIN)
def one_entry_point(subject: PluginSubject) -> None:
    """One entry point in the group ``matrixhub.plugins``, whose name is the namespace of all its components:
    a Python name that no other installed package uses. Two packages of one namespace would hide each other.

    Mend: name one entry point in pyproject.toml, [project.entry-points."matrixhub.plugins"], with a name of
    your own; uninstall the other package, or rename yours.
    """
    homes = sorted({e.dist.name for e in subject.entry_points if e.dist})
    if len(homes) > 1:
        fail(f"the namespace '{subject.namespace}' is used by {' and '.join(homes)}")
    if not subject.namespace.isidentifier():
        fail(f"the namespace '{subject.namespace}' is no Python name")
    own = [e.name for e in subject.distribution.entry_points if e.group == GROUP]
    if len(own) > 1:
        fail(f"{homes[0]} has {len(own)} entry points in {GROUP}: {', '.join(sorted(own))}")


@check(PLUGIN)
def bounded_requirement(subject: PluginSubject) -> None:
    """Its metadata requires a range of versions of ``matrixhub`` that ends, and that holds the installed one,
    so that pip never pairs it with a MatrixHub it was not written for.

    Mend: write dependencies = ["matrixhub>=0.1,<0.2"] into pyproject.toml, with the version you test against.
    """
    if subject.namespace == CORE:
        skip("the core is what others require")
    found = [Requirement(text) for text in subject.distribution.requires or ()]
    ours = [one for one in found if one.name.lower() == "matrixhub" and one.marker is None]
    if not ours:
        fail(f"{subject.distribution.name} does not require matrixhub")
    (one, *_) = ours
    if not any(part.operator in BOUNDS for part in one.specifier):
        fail(f"its requirement '{one}' has no upper bound")
    if not one.specifier.contains(matrixhub.__version__, prereleases=True):
        fail(f"its requirement '{one}' leaves out the installed matrixhub {matrixhub.__version__}")


@check(PLUGIN)
def api_version(subject: PluginSubject) -> None:
    """``matrixhub_api`` in the entry module, where it is set, is a version of the hooks that this MatrixHub
    has: a plugin for another one is set aside by name, where it would otherwise fail somewhere inside.

    Mend: set matrixhub_api to the version you wrote it for, or upgrade whichever of the two is older.
    """
    wanted = getattr(_entry(subject), "matrixhub_api", hookspecs.API_VERSION)
    oldest = getattr(hookspecs, "OLDEST_API", hookspecs.API_VERSION)
    if not isinstance(wanted, int) or not oldest <= wanted <= hookspecs.API_VERSION:
        fail(f"matrixhub_api is {wanted!r}, this MatrixHub has {hookspecs.API_VERSION}")


@check(PLUGIN)
def hooks_are_known(subject: PluginSubject) -> None:
    """Every function whose name begins with ``matrixhub_`` is a hook, marked by ``@hookimpl``, with
    parameters that the hook has. A misspelled hook would never be called, and nobody would know why.

    Mend: compare its name and parameters with the table of hooks, and put @hookimpl above it.
    """
    entry = _entry(subject)
    known = [name for name in dir(hookspecs) if name.startswith("matrixhub_")]
    for name in dir(entry):
        function = getattr(entry, name)
        if not name.startswith("matrixhub_") or not callable(function):
            continue
        if name not in known:
            fail(unknown_name("hook", name, known))
        if not hasattr(function, "matrixhub_impl"):
            fail(f"{name} lacks @hookimpl")
        allowed = inspect.signature(getattr(hookspecs, name)).parameters
        for parameter in inspect.signature(function).parameters:
            if parameter not in allowed:
                fail(f"{name}: " + unknown_name("parameter", parameter, allowed))


@check(PLUGIN, needs=("api_version", "hooks_are_known"))
def loads(subject: PluginSubject) -> None:
    """MatrixHub can load it. One that raises is set aside: all others work, and none of its components
    exists.

    Mend: import the entry module by itself and see; let it import nothing but matrixhub and the standard
    library.
    """
    if fault := subject.plugin.fault:
        fail(f"it is set aside: {fault}")


@check(PLUGIN, needs=("loads",))
def light_import(subject: PluginSubject) -> None:
    """Importing the entry module takes little time and no heavy library: every command imports it, also those
    that never build a component of it.

    Mend: name factories as strings, "pkg.module:factory", and import torch and its kin in that module only.
    """
    spent, modules = _import_cost(subject.module)
    if heavy := [name for name in HEAVY if name in modules]:
        fail(f"importing {subject.module} imports {', '.join(heavy)}")
    # One slow import may be the disk's fault.
    if spent > BUDGET_MS and (spent := min(_import_cost(subject.module)[0] for _ in range(2))) > BUDGET_MS:
        fail(f"importing {subject.module} takes {spent:.0f} ms of processor time; {BUDGET_MS} are allowed")


@check(PLUGIN, needs=("loads",))
def presets_compose(subject: PluginSubject) -> None:
    """Every YAML of its config folders can be chosen on the command line: names and types of all its keys are
    right.

    Mend: lay the folder out like conf/ (encoder/text/small.yaml), begin with defaults: [NAMESPACE.NAME,
    _self_], and name only fields of that component's config.
    """
    from matrixhub.config.compose import Composer

    found = [(folder, path) for folder in preset_folders(subject) for path in sorted(folder.rglob("*.yaml"))]
    if not found:
        skip("it ships no presets")
    composer = Composer()
    for folder, path in found:
        relative = path.relative_to(folder)
        group = relative.parent.as_posix()
        base = [] if group == "product" else ["product=text", "product.source.path=rows.csv"]
        chosen = [] if group == "." else [f"{group}={relative.stem}"]
        try:
            composer.compose([*base, *chosen])
        except MatrixHubError as error:
            fail(f"{relative}: {error}")


@check(PLUGIN, needs=("loads",))
def yaml_in_wheel(subject: PluginSubject) -> None:
    """A wheel built of it holds every YAML (and conformance.toml) of its package: what works from a checkout
    works from pip.

    Mend: keep the YAML inside the package, beside its Python files, and let the build backend take all files
    of it.
    """
    shipped = [path for folder in preset_folders(subject) for path in sorted(folder.rglob("*.yaml"))]
    shipped += [path for path in [(subject.folder or Path()) / "conformance.toml"] if path.is_file()]
    if not shipped:
        if preset_folders(subject):
            fail("it names config folders, and there is no YAML in them")
        skip("it ships no YAML")
    if subject.project is None:
        skip("it is installed from a wheel: what is there was in it")
    packed = _wheel_names(subject.project)
    home = subject.folder.parent if subject.folder else Path(shipped[0].anchor)
    if missing := [str(path.relative_to(home)) for path in shipped if _inside(path, home) not in packed]:
        fail(f"the wheel lacks {', '.join(missing)}")


def preset_folders(subject: PluginSubject) -> list[Path]:
    """Those that its own hook names."""
    return [
        Path(d) for found in subject.hub.hook_of(subject.namespace).matrixhub_config_dirs() for d in found
    ]


def _entry(subject: PluginSubject) -> Any:
    """The object that its entry point names."""
    (entry_point, *_) = subject.entry_points
    try:
        return entry_point.load()
    except (Exception, SystemExit) as error:  # whatever a third party raises while it is imported
        raise Skipped(f"its entry module cannot be imported: {told(error)}") from error


def _import_cost(module: str) -> tuple[float, set[str]]:
    """Milliseconds of processor time, and all that is imported after it, in a process of its own."""
    done = subprocess.run(
        [sys.executable, "-c", _MEASURE, module],
        env=child_environment(),
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        fail(f"importing {module} in a new process fails: {done.stderr.strip().splitlines()[-1]}")
    spent, modules = json.loads(done.stdout.splitlines()[-1])
    return spent, set(modules)


def child_environment() -> dict[str, str]:
    """Of a new Python that finds what this one finds."""
    return {**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}


_PACK = """
import importlib, sys
module, _, name = sys.argv[1].partition(":")
backend = importlib.import_module(module)
print(getattr(backend, name) if name else backend, file=sys.stderr)
print((getattr(backend, name) if name else backend).build_wheel(sys.argv[2]))
"""


def _wheel_names(project: Path) -> set[str]:
    """Names of the files of a wheel built of a copy of the project, by its own backend."""
    import shutil
    import tempfile
    import tomllib
    import zipfile

    system = tomllib.loads((project / "pyproject.toml").read_text("utf-8")).get("build-system", {})
    backend = system.get("build-backend", "setuptools.build_meta")
    if importlib.util.find_spec(backend.partition(":")[0].partition(".")[0]) is None:
        skip(f"no wheel can be built here: pip install {' '.join(system.get('requires', ['setuptools']))}")
    with tempfile.TemporaryDirectory() as scratch:
        copy, out = Path(scratch, "project"), Path(scratch, "out")
        shutil.copytree(
            project, copy, ignore=shutil.ignore_patterns(".git", ".venv", "build", "dist", "*.egg-info")
        )
        out.mkdir()
        done = subprocess.run(
            [sys.executable, "-c", _PACK, backend, str(out)],
            cwd=copy, env=child_environment(), capture_output=True, text=True, check=False,
        )  # fmt: skip
        wheels = list(out.glob("*.whl"))
        if done.returncode or not wheels:
            fail(f"no wheel can be built of it: {(done.stderr.strip().splitlines() or ['no message'])[-1]}")
        with zipfile.ZipFile(wheels[0]) as wheel:
            return set(wheel.namelist())


def _inside(path: Path, home: Path) -> str:
    return path.relative_to(home).as_posix()
