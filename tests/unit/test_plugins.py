"""Reliability rows 6 and 7: a plugin's fault costs that plugin only; the allowlist comes before import."""

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from matrixhub.errors import PluginError, UnknownNameError
from matrixhub.plugins import Hub, Plugin, discover
from matrixhub.plugins import hub as matrixhub_hub
from tests.fixture_plugin.fake import FAULTS, WORKING, write_plugin


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder that stands in for site-packages; what is imported from it is forgotten afterwards."""
    before = set(sys.modules)
    monkeypatch.syspath_prepend(tmp_path)
    yield tmp_path
    for name in set(sys.modules) - before:
        if name.startswith("fake_"):
            del sys.modules[name]


def plugin_of(hub: Hub, namespace: str) -> Plugin:
    return next(plugin for plugin in hub.plugins if plugin.namespace == namespace)


@pytest.mark.parametrize("name", FAULTS)
def test_a_broken_plugin_is_set_aside_with_its_cause(site: Path, name: str) -> None:
    write_plugin(site, name, FAULTS[name].code)
    write_plugin(site, "zz_good")

    hub = discover([name, "zz_good"])

    broken = plugin_of(hub, name)
    assert FAULTS[name].cause in broken.fault
    assert (broken.distribution, broken.version) == (f"fake-{name}", "1.0")
    assert hub.faults == [broken]
    assert not [c for c in hub.registry.of_kind() if c.namespace == name]
    assert hub.component("callback", "zz_good.thing").factory()(size=5).size == 5


@pytest.mark.parametrize("name", FAULTS)
def test_asking_for_a_component_of_a_broken_plugin_tells_the_cause(site: Path, name: str) -> None:
    write_plugin(site, name, FAULTS[name].code)
    with pytest.raises(PluginError) as raised:
        discover([name]).component("callback", f"{name}.thing")
    assert FAULTS[name].cause in str(raised.value)
    assert f"fake-{name}" in str(raised.value)


def test_many_broken_plugins_at_once_leave_the_good_ones_whole(site: Path) -> None:
    names = [*FAULTS, "aa_good", "mm_good", "zz_good"]
    for name in names:
        write_plugin(site, name, FAULTS[name].code if name in FAULTS else WORKING)

    hub = discover(names)

    assert {p.namespace: FAULTS[p.namespace].cause in p.fault for p in hub.faults} == dict.fromkeys(
        FAULTS, True
    )
    offered = [c.name for c in hub.registry.of_kind("callback")]
    assert offered == ["aa_good.thing", "mm_good.thing", "zz_good.thing"]
    assert {n for n, p in hub.manager.list_name_plugin() if p} == {"core", "aa_good", "mm_good", "zz_good"}


def test_a_namespace_belongs_to_the_first_of_two_distributions(site: Path) -> None:
    write_plugin(site, "acme", distribution="fake-one")
    write_plugin(site, "acme", distribution="fake-two")

    hub = discover(["acme"])

    assert [(p.distribution, bool(p.fault)) for p in hub.plugins[1:]] == [
        ("fake-one", False),
        ("fake-two", True),
    ]
    assert "'acme' is taken" in hub.faults[0].fault
    assert hub.component("callback", "acme.thing").distribution == "fake-one"
    assert "fake_two" not in sys.modules


def test_nobody_takes_the_namespace_of_the_core(site: Path) -> None:
    write_plugin(site, "core", distribution="aaa-impostor")
    hub = discover([])
    assert [(p.distribution, bool(p.fault)) for p in hub.plugins] == [
        ("matrixhub", False),
        ("aaa-impostor", True),
    ]
    assert hub.component("source", "core.table").distribution == "matrixhub"


def test_a_namespace_that_is_no_name_is_refused(site: Path) -> None:
    write_plugin(site, "two-words")
    assert "'two-words.thing' is not a name" in plugin_of(discover(["two-words"]), "two-words").fault


def test_an_unknown_component_of_a_working_plugin_is_a_plain_unknown_name(site: Path) -> None:
    write_plugin(site, "good")
    with pytest.raises(UnknownNameError, match=r"Did you mean 'good\.thing'"):
        discover(["good"]).component("callback", "good.thin")


def in_a_process(site: Path, code: str, **environment: str) -> Any:
    """The value that ``code`` prints as JSON, in a new process where ``site`` is installed."""
    paths = os.pathsep.join(filter(None, [str(site), os.environ.get("PYTHONPATH")]))
    done = subprocess.run(
        [sys.executable, "-c", f"import json, sys\nfrom matrixhub.plugins import hub\n{code}"],
        env={**os.environ, "PYTHONPATH": paths, **environment},
        capture_output=True,
        text=True,
        check=True,
    )
    return json.loads(done.stdout)


def test_the_allowlist_is_applied_before_import(site: Path) -> None:
    canary = "import pathlib\npathlib.Path(__file__ + '.imported').touch()\n" + WORKING
    for namespace in ("one", "two", "three"):
        write_plugin(site, namespace, canary)
    code = (
        "names = [p.namespace for p in hub().plugins]\n"
        "print(json.dumps([names, sorted(m for m in sys.modules if m.startswith('fake_'))]))"
    )

    allowed = in_a_process(site, code, MATRIXHUB_PLUGINS="one, three")

    assert allowed == [["core", "one", "three"], ["fake_one", "fake_three"]]
    assert sorted(p.name for p in site.glob("*.imported")) == [
        "fake_one.py.imported",
        "fake_three.py.imported",
    ]


def test_an_allowed_plugin_that_is_not_installed_is_told_once(
    site: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    write_plugin(site, "acme")
    monkeypatch.setenv("MATRIXHUB_PLUGINS", "fixture,acne")
    expected = "Unknown plugin in MATRIXHUB_PLUGINS 'acne'. Did you mean 'acme'?"
    for _ in range(2):
        (sentence,) = matrixhub_hub().unknown
        assert sentence.startswith(expected)
    assert [record.getMessage() for record in caplog.records] == [sentence]


def test_an_empty_allowlist_leaves_the_core_alone(site: Path) -> None:
    write_plugin(site, "one")
    code = "print(json.dumps([p.namespace for p in hub().plugins]))"
    assert in_a_process(site, code, MATRIXHUB_PLUGINS="") == ["core"]


CHECKS = {
    "int": ("return 3", "TypeError: it returned 3, not a list of sentences"),
    "mixed": ("return ['no', 3]", "TypeError: it returned 3 among its sentences"),
    "raises": ("raise ValueError('no')", "ValueError: no"),
    "raises_late": ("yield 'no'\n    raise ValueError('late')", "ValueError: late"),
    "exits": ("raise SystemExit('bye')", "SystemExit: bye"),
}
"""Bodies of ``matrixhub_check`` that misbehave, and the cause that is told."""


def checking(site: Path, namespace: str, body: str) -> None:
    write_plugin(site, namespace, f"{WORKING}\n@hookimpl\ndef matrixhub_check(cell):\n    {body}\n")


@pytest.mark.parametrize("name", CHECKS)
def test_a_check_that_misbehaves_is_named_and_costs_no_other_plugin(
    site: Path, caplog: pytest.LogCaptureFixture, name: str
) -> None:
    body, cause = CHECKS[name]
    checking(site, "acme", body)
    checking(site, "good", "return ['too large']")
    told = f"matrixhub_check of the plugin 'acme' failed: {cause}"

    assert discover(["acme", "good"]).objections({}) == ["too large"]
    assert [record.getMessage() for record in caplog.records] == [told]
    with pytest.raises(PluginError, match=f"^{re.escape(told)}"):
        discover(["acme", "good"], strict=True).objections({})


@pytest.mark.parametrize("body", ["return 'too large'", "return ('too large',)", "yield 'too large'"])
def test_a_check_may_answer_with_a_text_a_sequence_or_a_generator(site: Path, body: str) -> None:
    checking(site, "acme", body)
    assert discover(["acme"], strict=True).objections({}) == ["too large"]


def test_a_hook_that_exits_ends_nothing(site: Path) -> None:
    hook = "\n@hookimpl\ndef matrixhub_run_started(run):\n    raise SystemExit(0)\n"
    write_plugin(site, "acme", WORKING + hook)
    assert discover(["acme"]).call("matrixhub_run_started", run=None) == []


def test_the_installed_fixture_plugin_loads_without_anything_heavy(tmp_path: Path) -> None:
    code = (
        "heavy = {'torch', 'numpy', 'pyarrow', 'PIL', 'matrixhub_fixture.text'} & set(sys.modules)\n"
        "print(json.dumps([[c.name for c in hub().registry.of_kind() if c.namespace == 'fixture'],\n"
        "    [p.fault for p in hub().plugins], [d.name for d in hub().config_dirs], sorted(heavy)]))"
    )
    found = in_a_process(tmp_path, code, MATRIXHUB_PLUGINS="fixture")
    offered, *rest = found
    assert {"fixture.toy", "fixture.hash_text", "fixture.mean_image"} <= set(offered)
    assert rest == [["", ""], ["conf"], []]
