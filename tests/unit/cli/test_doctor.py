"""``matrixhub doctor``: versions, devices, plugins, and what to do about faults."""

import re
from pathlib import Path

import pytest

from matrixhub.cli import doctor
from matrixhub.cli.main import main
from matrixhub.cli.plugin_doctor import plugin_lines
from tests.command import command
from tests.fixture_plugin.fake import FAULTS, WORKING, write_plugin


def test_a_healthy_installation(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    assert main(["doctor"]) == 0
    page = capsys.readouterr().out
    for words in ("matrixhub 0.", "torch 2.", "hydra-core 1.", "devices ", "off (HF_HUB_OFFLINE is set)"):
        assert words in page
    assert re.search(r"fixture    matrixhub-fixture 0\.1\.0: \d+ components", page)
    assert "set aside" not in page


def test_hub_access(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("HF_HUB_OFFLINE")
    main(["doctor"])
    assert "hub access on" in capsys.readouterr().out


def test_a_plugin_set_aside_is_shown_with_cause_and_cure(tmp_path: Path) -> None:
    write_plugin(tmp_path, "acme", FAULTS["wrong_api"].code)
    write_plugin(tmp_path, "twin", distribution="fake-a")
    write_plugin(tmp_path, "twin", distribution="fake-b")
    done = command("doctor", site=tmp_path)
    assert done.returncode == 1
    assert done.stderr == ""
    lines = done.stdout.splitlines()
    (acme,) = (n for n, line in enumerate(lines) if line.startswith("  acme"))
    assert "set aside: it was written for plugin API 99" in lines[acme]
    assert (
        "what to do: pip install --upgrade matrixhub; to be rid of it: pip uninstall fake-acme"
        in lines[acme + 1]
    )
    (taken,) = (n for n, line in enumerate(lines) if "fake-b" in line and "is taken" in line)
    assert "what to do: pip uninstall fake-b, or the other one: fake-a" in lines[taken + 1]


def test_an_allowed_plugin_that_is_not_there() -> None:
    done = command("doctor", MATRIXHUB_PLUGINS="textt")
    assert done.returncode == 1
    assert "  Unknown plugin in MATRIXHUB_PLUGINS 'textt'. Did you mean 'text'?" in done.stdout


def test_a_missing_package_is_named(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(doctor, "_version", lambda name: "" if name == "torch" else "1.0")
    assert main(["doctor"]) == 1
    page = capsys.readouterr().out
    assert "torch not installed" in page
    assert "what to do: pip install torch" in page


def test_plugins_are_counted_with_their_components(tmp_path: Path) -> None:
    assert any(line.startswith("  core ") and "components" in line for line in plugin_lines())
    write_plugin(tmp_path, "acme", WORKING)
    assert "acme       fake-acme 1.0: 1 components" in command("doctor", site=tmp_path).stdout
