"""Installed plugins out of thin air: a module and the metadata that pip would have written.

A test writes some into a folder and puts that folder on ``sys.path``, or on the ``PYTHONPATH`` of a
subprocess; importlib.metadata then sees them as installed.
"""

from dataclasses import dataclass
from pathlib import Path

OFFER = 'register("callback", "thing", f"{__name__}:Thing", config=Config)'
WORKING = f'''
from dataclasses import dataclass
from matrixhub import hookimpl

@dataclass
class Config:
    """Options of the component."""

    size: int = 3

@hookimpl
def matrixhub_components(register):
    {OFFER}

class Thing:
    def __init__(self, *, size):
        self.size = size
'''
"""A plugin that offers the callback ``NAMESPACE.thing``."""


@dataclass(frozen=True, slots=True)
class Fault:
    """A plugin that cannot work, and words that its recorded cause must hold."""

    code: str
    cause: str


FAULTS = {
    "raises_at_import": Fault("raise RuntimeError('no licence file')", "RuntimeError: no licence file"),
    "exits_at_import": Fault("import sys; sys.exit('goodbye')", "SystemExit: goodbye"),
    "missing_dependency": Fault("import absent_package", "No module named 'absent_package'"),
    "syntax_error": Fault("def broken(:", "SyntaxError"),
    "duplicate_name": Fault(WORKING.replace(OFFER, f"{OFFER}\n    {OFFER}"), "registered twice"),
    "wrong_api": Fault("matrixhub_api = 99" + WORKING, "plugin API 99"),
    "old_api": Fault("matrixhub_api = 0" + WORKING, "upgrade the plugin"),
    "misspelled_hook": Fault(
        WORKING.replace("matrixhub_components", "matrixhub_componets"), "matrixhub_componets"
    ),
    "wrong_hook_parameter": Fault(WORKING.replace("(register):", "(registry):"), "registry"),
    "unmarked_hook": Fault(WORKING.replace("@hookimpl", ""), "@hookimpl"),
    "config_not_a_dataclass": Fault(WORKING.replace("config=Config", "config=dict"), "not a dataclass"),
    "unknown_kind": Fault(WORKING.replace('"callback"', '"gadget"'), "unknown kind 'gadget'"),
    "bad_target": Fault(WORKING.replace('f"{__name__}:Thing"', '"no_colon"'), "no_colon"),
    "missing_config_dir": Fault(
        WORKING + "\n@hookimpl\ndef matrixhub_config_dirs():\n    return ['/nowhere/at/all']\n",
        "config folder is not there: /nowhere/at/all",
    ),
}
"""One plugin for each way to go wrong, by a name that also serves as its namespace."""


def write_plugin(folder: Path, namespace: str, code: str = WORKING, *, distribution: str = "") -> str:
    """Write an installed plugin.

    Args:
        folder: stands in for site-packages.
        namespace: its entry-point name.
        code: of its one module.
        distribution: its pip name; ``fake-NAMESPACE`` unless given.

    Returns:
        The module's name.
    """
    distribution = distribution or f"fake-{namespace}"
    module = distribution.replace("-", "_")
    info = folder / f"{module}-1.0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {distribution}\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(f"[matrixhub.plugins]\n{namespace} = {module}\n")
    (folder / f"{module}.py").write_text(code)
    return module
