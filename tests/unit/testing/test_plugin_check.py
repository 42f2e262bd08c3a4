"""``matrixhub plugin check``: installed plugins and folders, as table and JSON, with the right exit code."""

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from matrixhub.testing import Suite
from tests.command import command, python
from tests.contracts.breaks import BREAKS
from tests.contracts.broken import write


def test_an_installed_plugin_that_keeps_its_word() -> None:
    done = command("plugin", "check", "fixture")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "encoder fixture.hash_text" in done.stdout
    assert "failed" not in done.stdout.partition("\n")[2]


def test_a_broken_one_fails_with_what_was_seen_and_how_to_mend_it(tmp_path: Path) -> None:
    write(tmp_path, "acme", next(b for b in BREAKS if b.check == "independent_of_padding"))
    done = command("plugin", "check", "acme", site=tmp_path)
    assert done.returncode == 1
    assert "encoder acme.thing: independent_of_padding failed" in done.stdout
    assert "padded from size" in done.stdout and "Mend: take sums" in done.stdout
    results = json.loads(command("plugin", "check", "acme", "--json", site=tmp_path).stdout)
    failed = [result for result in results if result["outcome"] == "failed"]
    assert [(result["subject"], result["check"]) for result in failed] == [
        ("encoder acme.thing", "independent_of_padding")
    ]


def test_a_folder_need_not_be_installed(tmp_path: Path) -> None:
    write(tmp_path / "acme", "acme", None, "source")
    for info in (tmp_path / "acme" / "fake_acme-1.0.dist-info").iterdir():
        info.unlink()
    (tmp_path / "acme" / "fake_acme-1.0.dist-info").rmdir()
    (tmp_path / "acme" / "pyproject.toml").write_text(
        '[project]\nname = "acme"\nversion = "1.0"\ndependencies = ["matrixhub<1"]\n'
        '[project.entry-points."matrixhub.plugins"]\nacme = "fake_acme"\n'
    )
    done = command("plugin", "check", str(tmp_path / "acme"))
    assert done.returncode == 0, done.stdout + done.stderr
    assert "source acme.thing" in done.stdout


def test_an_unknown_plugin_is_told_with_the_nearest() -> None:
    done = command("plugin", "check", "fixtur")
    assert done.returncode == 2
    assert "Did you mean 'fixture'" in done.stderr


def test_the_kit_imports_nothing_heavy_by_itself() -> None:
    code = (
        "import json, sys, matrixhub.testing\n"
        "matrixhub.testing.Suite('fixture').cases()\n"
        "print(json.dumps([n for n in ('torch', 'numpy', 'pyarrow') if n in sys.modules]))"
    )
    assert python(code) == []


def test_pytest_runs_the_checks_without_a_test_file(tmp_path: Path) -> None:
    done = subprocess.run(
        [
            *(sys.executable, "-m", "pytest", "-p", "matrixhub.testing.pytest_plugin", "-q"),
            *("--matrixhub", "fixture", "-k", "independent_of_padding"),
        ],
        cwd=tmp_path, env=dict(os.environ), capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout
    assert "1 passed, 1 skipped" in done.stdout


@pytest.mark.slow
def test_a_small_encoder_is_checked_in_ten_seconds() -> None:
    started = time.process_time()
    cases = [
        c for c in Suite("fixture").cases() if c.subject.label.endswith(("fixture.hash_text", "fixture"))
    ]
    assert not [case.label for case in cases if case.run().is_bad]
    assert time.process_time() - started < 30, "thrice what it takes at most, for slow machines"
