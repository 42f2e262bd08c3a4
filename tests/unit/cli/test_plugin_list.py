"""``matrixhub plugin list`` and ``plugin doctor``, for people and for programs; strictness; typed flags."""

import json
from pathlib import Path

import pytest

from matrixhub.cli import plugin_doctor
from matrixhub.cli.main import main
from matrixhub.plan.build import Plan, Refusal
from matrixhub.plan.text import plan_text
from matrixhub.plugins import Hub, Plugin, forget
from tests.command import command
from tests.fixture_plugin.fake import FAULTS, WORKING, write_plugin


@pytest.fixture
def site(tmp_path: Path) -> Path:
    """A folder where one plugin works, one does not, and one shares a short name with the first."""
    write_plugin(tmp_path, "acme")
    write_plugin(tmp_path, "twin")
    write_plugin(tmp_path, "broken", FAULTS["missing_dependency"].code)
    return tmp_path


def test_a_line_for_each_plugin(site: Path) -> None:
    header, *lines = command("plugin", "list", site=site).stdout.splitlines()
    assert header.split() == ["namespace", "distribution", "version", "API", "ms", "components", "state"]
    (acme,) = (line.split() for line in lines if line.startswith("acme"))
    assert acme[:4] == ["acme", "fake-acme", "1.0", "1"]
    assert float(acme[4]) > 0
    assert acme[5:] == ["1", "callback", "works"]
    (broken,) = (line for line in lines if line.startswith("broken"))
    assert "set aside: ModuleNotFoundError: No module named 'absent_package'" in broken


def test_the_list_as_json(site: Path) -> None:
    rows = json.loads(command("plugin", "list", "--json", site=site).stdout)
    (acme,) = (row for row in rows if row["namespace"] == "acme")
    assert acme.pop("milliseconds") > 0
    assert acme == {
        "namespace": "acme", "distribution": "fake-acme", "version": "1.0", "api": 1,
        "components": {"callback": 1}, "state": "works", "fault": "", "cure": "", "warnings": [],
    }  # fmt: skip


def test_the_doctor_tells_faults_cures_and_doubts(site: Path) -> None:
    done = command("plugin", "doctor", site=site)
    assert done.returncode == 1
    assert "what to do: pip install --force-reinstall fake-broken; if absent_package is still" in done.stdout
    assert "warning: it does not require matrixhub" in done.stdout
    assert "warning: 'callback=thing' is short for twin.thing too; write acme.thing in full" in done.stdout


def test_the_doctor_as_json(site: Path) -> None:
    done = command("plugin", "doctor", "--json", site=site, MATRIXHUB_PLUGINS="acme,broken,acne")
    found = json.loads(done.stdout)
    assert done.returncode == 1
    assert [row["state"] for row in found["plugins"]] == ["works", "works", "set aside"]
    assert found["plugins"][1]["warnings"][0].startswith("it does not require matrixhub")
    assert found["unknown"][0].startswith("Unknown plugin in MATRIXHUB_PLUGINS 'acne'")


def test_nobody_is_told_to_be_rid_of_the_core(monkeypatch: pytest.MonkeyPatch) -> None:
    for target, told in (("matrixhub.components", False), ("acme", True)):
        plugin = Plugin("core", target, "matrixhub", "1.0", fault="no", cure="mend it")
        monkeypatch.setattr(plugin_doctor, "hub", lambda plugin=plugin: Hub(plugins=[plugin]))
        assert ("pip uninstall" in "".join(plugin_doctor.plugin_lines())) is told


def test_a_component_whose_module_is_missing_is_told_before_it_is_built(tmp_path: Path) -> None:
    write_plugin(tmp_path, "acme", WORKING.replace('f"{__name__}:Thing"', '"absent_package:Thing"'))
    done = command("plugin", "doctor", site=tmp_path, MATRIXHUB_PLUGINS="acme")
    assert done.returncode == 0
    assert "warning: acme.thing cannot be built: the module absent_package is not there" in done.stdout
    assert done.stdout.count("cannot be built") == 1


def test_a_preset_behind_a_shipped_one_is_told_to_its_plugin(tmp_path: Path) -> None:
    presets = tmp_path / "conf"
    hook = f"\n@hookimpl\ndef matrixhub_config_dirs():\n    return [{str(presets)!r}]\n"
    write_plugin(tmp_path, "acme", WORKING + hook)
    (presets / "trainer").mkdir(parents=True)
    (presets / "trainer" / "frozen.yaml").touch()
    done = command("plugin", "doctor", site=tmp_path)
    assert done.returncode == 0
    assert "warning: its preset trainer/frozen.yaml is never used" in done.stdout


def test_warnings_alone_are_no_failure(tmp_path: Path) -> None:
    write_plugin(tmp_path, "acme", WORKING)
    assert command("plugin", "doctor", site=tmp_path).returncode == 0


def test_strict_is_one_message_and_exit_code_2(site: Path) -> None:
    done = command("plan", "product=toy", site=site, MATRIXHUB_STRICT="1")
    assert done.returncode == 2
    assert done.stdout == ""
    (line,) = done.stderr.splitlines()
    assert line.startswith("matrixhub: The plugin 'broken' (fake-broken) was set aside: ModuleNotFoundError")
    assert "pip install --force-reinstall fake-broken" in line


def test_strict_changes_nothing_where_all_is_well(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("MATRIXHUB_STRICT", "1")
    forget()
    assert main(["plugin", "list"]) == 0
    assert "set aside" not in capsys.readouterr().out


def test_a_mistyped_option_has_a_suggestion(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["plan", "product=toy", "--frce"]) == 2
    assert "Unknown option '--frce'. Did you mean '--force'?" in capsys.readouterr().err


def test_equal_reasons_are_told_once() -> None:
    reasons = ("An image cannot be read as text.",)
    plan = Plan({}, [], refused=[Refusal("acme", (f"trainer.lr={lr}",), reasons) for lr in (1, 2)])
    assert plan_text(plan).splitlines()[-4:] == [
        "2 cells refused",
        "  acme  trainer.lr=1",
        "  acme  trainer.lr=2",
        "    An image cannot be read as text.",
    ]
