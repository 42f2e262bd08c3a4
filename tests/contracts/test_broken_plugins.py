"""The kit catches a deliberately broken plugin for each of its checks, by that check and by no other."""

import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from matrixhub import plugins
from matrixhub.testing import CHECKS, Outcome, Result, Suite
from tests.contracts.breaks import BREAKS
from tests.contracts.broken import ENTRY, KINDS, Break, write
from tests.fixture_plugin.fake import FAULTS, write_plugin

HOOK = "def matrixhub_components(register)"


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder that stands in for site-packages; what is imported from it is forgotten afterwards."""
    monkeypatch.syspath_prepend(tmp_path)
    plugins.forget()
    yield tmp_path
    plugins.forget()
    for name in [name for name in sys.modules if name.startswith("fake_")]:
        del sys.modules[name]


def results(namespace: str, *, whole_plugin: bool = False, slow: bool = False) -> dict[str, Result]:
    cases = Suite(namespace).cases(slow=slow)
    wanted = [case for case in cases if (case.subject.kind == "plugin") == whole_plugin or whole_plugin]
    return {case.check.name: case.run() for case in wanted}


def failed(found: dict[str, Result]) -> dict[str, str]:
    return {name: result.text for name, result in found.items() if result.outcome is Outcome.FAILED}


@pytest.mark.parametrize("of", KINDS)
def test_the_sources_that_are_broken_work(site: Path, of: str) -> None:
    write(site, "acme", None, of)
    assert failed(results("acme")) == {}


@pytest.mark.parametrize("broken", BREAKS, ids=lambda b: f"{b.of} {b.check} {b.says[:20]}")
def test_a_broken_component_is_caught_by_its_check(site: Path, broken: Break) -> None:
    write(site, "acme", broken)
    found = failed(results("acme"))
    assert broken.check in found, found
    assert broken.says in found[broken.check]
    assert "Mend: " in found[broken.check] or "it raised" in found[broken.check]
    assert set(found) <= {broken.check, *broken.also}, found


PLUGINS = {
    "one_entry_point": ("", "used by fake-acme and fake-other", ()),
    "bounded_requirement": ("", "no upper bound", ()),
    "light_import": ("import numpy\n", "imports numpy", ()),
    "api_version": ("matrixhub_api = 99\n", "99", ()),
    "hooks_are_known": (HOOK, "matrixhub_componets", ()),
    "loads": ("raise RuntimeError('no licence file')\n", "no licence file", ()),
    "presets_compose": ("", "size", ()),
    "yaml_in_wheel": ("", "thing_large.yaml", ()),
}
"""For each check of a plugin: how its entry module begins, what is said, what else may fail."""


@pytest.mark.parametrize("check", PLUGINS)
def test_a_broken_plugin_is_caught_by_its_check(site: Path, check: str, tmp_path: Path) -> None:
    begin, says, also = PLUGINS[check]
    entry = ENTRY.replace("MODULE", "fake_acme_parts").replace("CONSUMES", "'text'")
    entry = entry.replace("PRODUCES", "('pooled', 'tokens')").replace("KIND", "'encoder'")
    presets = {"presets_compose": "sise: 3", "yaml_in_wheel": "size: 3"}.get(check)
    if begin == HOOK:
        entry, begin = entry.replace(HOOK, "def matrixhub_componets(register)"), ""
    write(site, "acme", None, "encoder")
    (site / "fake_acme.py").write_text(begin + entry)
    info = site / "fake_acme-1.0.dist-info"
    if check == "one_entry_point":
        write_plugin(site, "acme", distribution="fake-other")
    if check == "bounded_requirement":
        text = (info / "METADATA").read_text()
        (info / "METADATA").write_text(text.replace("matrixhub<1,>=0.1", "matrixhub>=0.1"))
    if presets:
        project = _as_package(site, entry, presets, leave_out=check == "yaml_in_wheel")
        (info / "entry_points.txt").write_text("[matrixhub.plugins]\nacme = acme_pkg.plugin\n")
        (info / "direct_url.json").write_text(f'{{"url": "{project.as_uri()}"}}')
    found = failed(results("acme", whole_plugin=True))
    assert says in found.get(check, ""), found
    assert set(found) <= {check, *also}, found
    sys.modules.pop("acme_pkg.plugin", None)
    sys.modules.pop("acme_pkg", None)


def _as_package(site: Path, entry: str, preset: str, *, leave_out: bool) -> Path:
    """The plugin as a project whose package, here on the path, has one preset."""
    package = site / "acme_pkg"
    (package / "conf" / "encoder" / "text").mkdir(parents=True)
    hook = (
        "\n@hookimpl\ndef matrixhub_config_dirs():\n"
        "    import pathlib\n    return [pathlib.Path(__file__).parent / 'conf']\n"
    )
    (package / "__init__.py").touch()
    (package / "plugin.py").write_text(entry + hook)
    (package / "conf" / "encoder" / "text" / "thing_large.yaml").write_text(
        f"# A larger one.\ndefaults: [acme.thing, _self_]\n{preset}\n"
    )
    project = site.parent / f"{site.name}-project"
    project.mkdir()
    shutil.copytree(package, project / "acme_pkg")
    excluded = 'exclude = ["*.yaml"]' if leave_out else ""
    (project / "pyproject.toml").write_text(
        '[build-system]\nrequires = ["hatchling"]\nbuild-backend = "hatchling.build"\n'
        '[project]\nname = "fake-acme"\nversion = "1.0"\n'
        f'[tool.hatch.build.targets.wheel]\npackages = ["acme_pkg"]\n{excluded}\n'
    )
    return project


@pytest.mark.slow
def test_a_step_on_two_ranks_that_leaves_a_parameter_out_is_caught(site: Path) -> None:
    old = "        return Features(self.linear(joined))"
    new = "        rank = int(__import__('os').environ.get('RANK', 0))\n" + old + "\n"
    write(
        site,
        "acme",
        Break(
            "two_ranks_agree",
            "fusion",
            old,
            new.replace("(joined)", "(joined) if rank == 0 else joined[:, :8]"),
            "",
        ),
    )
    found = failed(results("acme", slow=True))
    assert "two_ranks_agree" in found


@pytest.mark.parametrize("name", FAULTS)
def test_a_plugin_that_is_set_aside_fails_with_its_cause(site: Path, name: str) -> None:
    write_plugin(site, name, FAULTS[name].code)
    with (site / f"fake_{name}-1.0.dist-info" / "METADATA").open("a") as metadata:
        metadata.write("Requires-Dist: matrixhub<1,>=0.1\n")
    found = failed(results(name, whole_plugin=True))
    assert found and set(found) <= {"loads", "hooks_are_known", "api_version"}


def test_every_check_has_a_broken_plugin() -> None:
    caught = {broken.check for broken in BREAKS} | set(PLUGINS) | {"two_ranks_agree"}
    assert {check.name for check in CHECKS} == caught


def test_an_expected_failure_is_one_until_it_passes(site: Path) -> None:
    write(site, "acme", next(b for b in BREAKS if b.check == "independent_of_padding"))
    declared = {
        "encoder.thing": {"independent_of_padding": "a mean over padding", "rows_differ": "no reason"}
    }
    found = {c.check.name: c.run() for c in Suite("acme", expected_failures=declared).cases()}
    assert found["independent_of_padding"].outcome is Outcome.EXPECTED
    assert "a mean over padding (padded from size" in found["independent_of_padding"].text
    assert found["rows_differ"].outcome is Outcome.STALE and found["rows_differ"].is_bad
    assert "Take 'rows_differ' out" in found["rows_differ"].text


def test_a_component_that_must_be_told_something_is_skipped_with_what_to_declare(site: Path) -> None:
    write(site, "acme", Break("", "encoder", "size: int = 8", "size: int = '???'", ""))
    found = results("acme")
    assert failed(found) == {}
    assert found["composes"].outcome is Outcome.PASSED
    for name in ("builds", "independent_of_padding"):
        assert found[name].outcome is Outcome.SKIPPED
        assert 'options={"encoder.thing": {"size": …}}' in found[name].seen


def test_a_transform_for_training_alone_is_not_asked_to_answer(site: Path) -> None:
    old = "    def __call__(self, table):\n"
    new = f"    training_only = True\n\n{old}        table['label']\n        table = table.slice(0, 12)\n"
    write(site, "acme", Break("", "transform", old, new, ""))
    found = results("acme")
    assert failed(found) == {}
    for name in ("needs_no_target", "keeps_every_row", "answers_each_row_alone"):
        assert found[name].outcome is Outcome.SKIPPED
        assert found[name].seen == "it is for training alone (training_only = True)"


def test_layers_may_begin_as_zeros(site: Path) -> None:
    """Those before one have no gradient until that one has moved."""
    old = "self.linear.weight.normal_(generator=seeded)"
    write(site, "acme", Break("", "encoder", old, "self.linear.weight.zero_()", ""))
    assert results("acme")["gradients_reach_parameters"].outcome is Outcome.PASSED
