"""Every fault of a plugin has a cure of its own; what is doubtful is told before it fails."""

from importlib.metadata import entry_points
from pathlib import Path

import pluggy
import pytest

from matrixhub import hookspecs
from matrixhub.diagnosis import missing_modules, requirement_warning, shared_aliases
from matrixhub.errors import PluginError
from matrixhub.plugins import Hub, discover
from matrixhub.registry import Component
from tests.fixture_plugin.fake import FAULTS, WORKING, write_plugin
from tests.unit.test_plugins import plugin_of, site

__all__ = ["site"]

CURES = {
    "raises_at_import": "its author: mend fake_raises_at_import.py, line 1",
    "exits_at_import": "its author: mend fake_exits_at_import.py, line 1",
    "missing_dependency": "if absent_package is still missing, its requirements lack it; its author: add the",
    "syntax_error": "mend fake_syntax_error.py, line 1",
    "duplicate_name": 'leave out or rename one register("callback", "thing", ...)',
    "wrong_api": "pip install --upgrade matrixhub",
    "old_api": "then write matrixhub_api = 1",
    "misspelled_hook": "Did you mean 'matrixhub_components'",
    "wrong_hook_parameter": "its author: matrixhub_components(register) is the hook",
    "unmarked_hook": "write @hookimpl above def matrixhub_components",
    "config_not_a_dataclass": "write @dataclass above the class that is thing's config=",
    "unknown_kind": 'write one of these in register("gadget", "thing", ...)',
    "bad_target": "'no_colon:FACTORY'",
    "missing_config_dir": "pip install --force-reinstall fake-missing_config_dir",
}


def test_every_fault_has_its_own_cure() -> None:
    assert CURES.keys() == FAULTS.keys()


@pytest.mark.parametrize("name", FAULTS)
def test_the_cure_of_a_fault(site: Path, name: str) -> None:
    write_plugin(site, name, FAULTS[name].code)
    assert CURES[name] in plugin_of(discover([name]), name).cure


def test_a_module_that_is_not_there_wants_the_plugin_again(site: Path) -> None:
    module = write_plugin(site, "gone")
    (site / f"{module}.py").unlink()
    assert plugin_of(discover(["gone"]), "gone").cure.startswith("pip install --force-reinstall fake-gone")


@pytest.mark.parametrize(
    ("code", "expected"),
    [
        ("import matrixhub.absent", "pip install --upgrade matrixhub fake-acme"),
        ("import absent.deep", "pip install --force-reinstall fake-acme; if absent is still missing"),
    ],
)
def test_no_name_of_a_package_is_made_up_from_a_module(site: Path, code: str, expected: str) -> None:
    write_plugin(site, "acme", code)
    cure = plugin_of(discover(["acme"]), "acme").cure
    assert cure.startswith(expected)
    assert "pip install absent" not in cure


def test_who_takes_the_namespace_of_the_core_is_not_told_to_uninstall_matrixhub(site: Path) -> None:
    write_plugin(site, "core", distribution="impostor")
    (fault,) = discover([]).faults
    assert fault.cure == "pip uninstall impostor; its author: choose another namespace, 'core' is MatrixHub's"


def test_a_fault_that_comes_from_deep_down_is_placed_in_the_plugin(site: Path) -> None:
    write_plugin(site, "deep", "import json\n\njson.loads('{')\n")
    assert "mend fake_deep.py, line 3" in plugin_of(discover(["deep"]), "deep").cure


@pytest.mark.parametrize("name", FAULTS)
def test_strict_raises_the_fault_with_its_cure(site: Path, name: str) -> None:
    write_plugin(site, name, FAULTS[name].code)
    with pytest.raises(PluginError) as raised:
        discover([name], strict=True)
    assert FAULTS[name].cause in str(raised.value)
    assert CURES[name] in str(raised.value)


def test_strict_raises_what_a_hook_raises(site: Path) -> None:
    hook = "\n@hookimpl\ndef matrixhub_check(cell):\n    raise ValueError('no')\n"
    write_plugin(site, "acme", WORKING + hook)
    assert discover(["acme"]).objections({}) == []
    with pytest.raises(PluginError, match="matrixhub_check of the plugin 'acme' failed: ValueError: no"):
        discover(["acme"], strict=True).objections({})


@pytest.fixture
def third_api(monkeypatch: pytest.MonkeyPatch) -> None:
    """A core that has come to API 3."""
    monkeypatch.setattr(hookspecs, "API_VERSION", 3)
    monkeypatch.setattr(hookspecs, "OLDEST_API", 2)


@pytest.mark.usefixtures("third_api")
@pytest.mark.parametrize(
    ("api", "fault", "warning"),
    [
        ("1", "plugin API 1, this MatrixHub has 3; upgrade the plugin", ""),
        ("2", "", "plugin API 2, which the next one drops; pip install --upgrade fake-acme"),
        ("3", "", ""),
        ("4", "plugin API 4, this MatrixHub has 3; upgrade matrixhub", ""),
        ("'3'", "matrixhub_api is '3', not a whole number", ""),
    ],
)
def test_one_older_api_is_accepted_with_a_warning(site: Path, api: str, fault: str, warning: str) -> None:
    write_plugin(site, "acme", f"matrixhub_api = {api}{WORKING}")
    plugin = plugin_of(discover(["acme"]), "acme")
    assert fault in plugin.fault and bool(fault) == bool(plugin.fault)
    assert warning in " ".join(plugin.warnings) and bool(warning) == bool(plugin.warnings)


def test_the_oldest_api_is_one_behind_at_most() -> None:
    assert hookspecs.API_VERSION - 1 <= hookspecs.OLDEST_API <= hookspecs.API_VERSION


class Deprecated:
    """Hookspecs of a core that is about to drop an argument, and a hook."""

    spec = pluggy.HookspecMarker("matrixhub")

    @spec(warn_on_impl_args={"register": DeprecationWarning("'register' goes in API 2; take 'offer'")})
    def matrixhub_components(self, register: object, offer: object) -> None: ...

    @spec(warn_on_impl=DeprecationWarning("matrixhub_check goes in API 2"))
    def matrixhub_check(self, cell: object) -> None: ...


def test_deprecated_hooks_and_arguments_are_recorded_as_pluggy_warns(
    site: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def deprecating(hub: Hub) -> None:
        hub.manager.add_hookspecs(Deprecated)

    monkeypatch.setattr(Hub, "__post_init__", deprecating)
    module = write_plugin(site, "acme", WORKING + "\n@hookimpl\ndef matrixhub_check(cell): return []\n")
    hub = Hub()
    for entry_point in entry_points(group="matrixhub.plugins"):
        if entry_point.value == module:
            with pytest.warns(UserWarning, match="offer"):  # the core does not hand it over yet
                hub.load(entry_point)
    (plugin,) = hub.plugins
    assert plugin.warnings == ["matrixhub_check goes in API 2", "'register' goes in API 2; take 'offer'"]


@pytest.mark.parametrize(
    ("requirement", "doubt"),
    [
        ("matrixhub>=0.1,<0.2", ""),
        ("matrixhub~=0.1", ""),
        ("matrixhub>=0.1", "'matrixhub>=0.1' has no upper bound"),
        ("torch", "does not require matrixhub"),
    ],
)
def test_a_requirement_without_an_end_is_doubtful(site: Path, requirement: str, doubt: str) -> None:
    write_plugin(site, "acme")
    with (site / "fake_acme-1.0.dist-info" / "METADATA").open("a") as metadata:
        metadata.write(f"Requires-Dist: {requirement}\n")
    found = requirement_warning("fake-acme")
    assert doubt in found and bool(doubt) == bool(found)


def test_a_short_name_of_two_plugins_is_told_to_both() -> None:
    def encoder(name: str, reads: str) -> Component:
        return Component("encoder", name, "m:f", Deprecated, consumes=(reads,))

    found = shared_aliases([encoder("a.vit", "image"), encoder("b.vit", "image"), encoder("c.vit", "text")])
    assert found == {
        "a": ["'encoder/image=vit' is short for b.vit too; write a.vit in full"],
        "b": ["'encoder/image=vit' is short for a.vit too; write b.vit in full"],
    }


def test_modules_of_components_that_are_not_there_are_told_and_none_is_imported(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "fake_whole").mkdir()
    (tmp_path / "fake_whole" / "there.py").write_text("raise RuntimeError('imported')")
    (tmp_path / "fake_exits").mkdir()
    (tmp_path / "fake_exits" / "__init__.py").write_text("raise SystemExit('bye')")
    monkeypatch.syspath_prepend(tmp_path)
    targets = {
        "a.whole": "fake_whole.there:f", "b.one": "fake_whole.gone:f", "b.two": "fake_whole.gone:g",
        "c.exits": "fake_exits.model:f", "d.all": "absent.model:f",
    }  # fmt: skip
    assert missing_modules(
        Component("head", name, target, Deprecated) for name, target in targets.items()
    ) == {
        "b": ["b.one and b.two cannot be built: the module fake_whole.gone is not there"],
        "c": ["c.exits cannot be built: SystemExit: bye"],
        "d": ["d.all cannot be built: ModuleNotFoundError: No module named 'absent'"],
    }
