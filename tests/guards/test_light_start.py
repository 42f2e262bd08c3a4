"""Everything left of run answers at once: nothing heavy is imported before there is work for it."""

import pkgutil
from importlib.metadata import EntryPoint, entry_points

import pytest

import matrixhub
from tests.command import python

HEAVY = (
    "torch", "torchvision", "transformers", "timm", "accelerate", "numpy", "pandas", "pyarrow", "datasets",
    "sklearn", "scipy", "safetensors", "PIL", "sentence_transformers", "torchmetrics", "seqeval",
)  # fmt: skip

SHOW = f"""
import json, sys, os
print()
print(json.dumps({{"heavy": [n for n in {HEAVY!r} if n in sys.modules], "seconds": sum(os.times()[:2])}}))
"""
COMMAND = """
import contextlib, sys
from matrixhub.cli.main import main
with contextlib.suppress(SystemExit):
    assert main(sys.argv[1:]) == 0
"""
MANY = "product=toy,news,textile"
CPU_SECONDS = 4.0  # several times what it takes, for slow machines


def assert_light(code: str, *argv: str) -> None:
    """Code, or a command, imports nothing heavy and takes little time."""
    said = python(code + SHOW, *argv)
    assert said["heavy"] == []
    assert said["seconds"] < CPU_SECONDS


@pytest.mark.parametrize(
    "argv",
    [
        ("--help",),
        ("--version",),
        ("run", "--help"),
        ("list",),
        ("list", "--json"),
        ("show", "text.transformer"),
        ("show", "vision.timm"),
        ("completion", "bash"),
        ("cache", "info"),
        ("plan", "product=toy", "encoder/text=hash"),
        ("plan", "-m", MANY, "head=linear,mlp", "trainer.lr=1e-3,1e-2"),
        ("plan", "-m", MANY, "encoder/text=bert_base,minilm", "encoder/image=vit_tiny,lite0"),
        ("plan", "matrix=demo", "--json"),
        ("plan", "product=toy", "launch.num_processes=2"),
    ],
    ids=" ".join,
)
def test_commands_that_only_tell(argv: tuple[str, ...]) -> None:
    assert_light(COMMAND, *argv)


@pytest.mark.parametrize(
    "code",
    [
        "import matrixhub",
        "import matrixhub; [getattr(matrixhub, name) for name in matrixhub.__all__]",
        "import matrixhub as mh; mh.list_components('encoder')",
        "import matrixhub as mh; mh.plan(['product=toy'])",
        "from matrixhub.cli.plugin_doctor import plugin_lines; plugin_lines()",
        "import os; os.environ['MATRIXHUB_LINE'] = 'matrixhub run head='; "
        "from matrixhub.cli.main import main; main(['completion', 'query'])",
    ],
)
def test_what_python_code_may_do_without_paying(code: str) -> None:
    assert_light(code)


@pytest.mark.parametrize("plugin", entry_points(group="matrixhub.plugins"), ids=lambda e: e.name)
def test_entry_modules_of_installed_plugins(plugin: EntryPoint) -> None:
    assert_light(f"import {plugin.module}")


LIGHT_PACKAGES = ("config", "plan", "cli", "report")
LIGHT_MODULES = (
    "api", "checkpoints", "components", "errors", "hookspecs", "plugins", "protocols", "registry", "types",
    "run.launch",
)  # fmt: skip


def test_no_module_left_of_run_imports_anything_heavy() -> None:
    names = [f"matrixhub.{name}" for name in LIGHT_MODULES]
    for package in LIGHT_PACKAGES:
        path = [f"{matrixhub.__path__[0]}/{package}"]
        names += [m.name for m in pkgutil.walk_packages(path, f"matrixhub.{package}.")]
    assert len(names) > 30
    assert_light("import importlib\n" + "\n".join(f"importlib.import_module({name!r})" for name in names))
