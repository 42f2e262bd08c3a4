"""Names, aliases and groups of components; factories that cannot be imported."""

from dataclasses import dataclass
from pathlib import Path

import pytest

from matrixhub.errors import PluginError, UnknownNameError
from matrixhub.registry import KINDS, Component, Registry, as_names


@dataclass
class Options:
    size: int = 1


def component(
    kind: str, name: str, *, target: str = "json:dumps", consumes: tuple[str, ...] = ()
) -> Component:
    return Component(kind, name, target, Options, consumes, distribution="acme-hub", version="2.1")


def registry(*components: Component) -> Registry:
    filled = Registry()
    for each in components:
        filled.add(each)
    return filled


def test_a_full_name_and_a_unique_alias_find_the_component() -> None:
    vit = component("encoder", "acme.vit")
    both = registry(vit, component("encoder", "text.bert"))
    assert both.get("encoder", "acme.vit") is vit
    assert both.get("encoder", "vit") is vit


def test_an_alias_of_two_plugins_names_both_and_picks_neither() -> None:
    two = registry(component("encoder", "acme.vit"), component("encoder", "other.vit"))
    assert two.maybe_get("encoder", "vit") is None
    with pytest.raises(UnknownNameError, match=r"short for acme\.vit and other\.vit"):
        two.get("encoder", "vit")


def test_an_alias_is_shared_across_kinds_without_clashing() -> None:
    two = registry(component("encoder", "acme.linear"), component("head", "other.linear"))
    assert two.get("head", "linear").name == "other.linear"


def test_an_unknown_name_suggests_near_ones() -> None:
    with pytest.raises(UnknownNameError, match=r"Unknown head 'acme\.liner'\. Did you mean 'acme\.linear'"):
        registry(component("head", "acme.linear")).get("head", "acme.liner")


def test_the_same_name_twice_is_refused_and_the_first_stays() -> None:
    first = component("head", "acme.linear")
    filled = registry(first)
    with pytest.raises(PluginError, match=r"'acme\.linear' is registered twice"):
        filled.add(component("head", "acme.linear"))
    assert filled.get("head", "acme.linear") is first


@pytest.mark.parametrize("name", ["vit", "acme.", ".vit", "acme.two words", "acme/vit", "acme.v-1", ""])
def test_a_malformed_name_is_refused(name: str) -> None:
    with pytest.raises(PluginError, match="is not a name"):
        registry(component("encoder", name))


@pytest.mark.parametrize("target", ["acme.model", "", "acme.model:"])
def test_a_target_without_a_factory_is_refused(target: str) -> None:
    with pytest.raises(PluginError, match=r"is not 'pkg\.module:factory'"):
        registry(component("encoder", "acme.vit", target=target))


def test_an_unknown_kind_is_refused_with_the_known_ones() -> None:
    with pytest.raises(PluginError, match=f"unknown kind 'gadget'; allowed: {', '.join(KINDS)}"):
        registry(component("gadget", "acme.vit"))


@pytest.mark.parametrize(
    ("kind", "consumes", "groups"),
    [
        ("encoder", ("text", "image"), ("encoder/text", "encoder/image")),
        ("source", (), ("product/source",)),
        ("transform", (), ("product/transform",)),
        ("head", ("pooled",), ("head",)),
    ],
)
def test_the_groups_of_a_component(kind: str, consumes: tuple[str, ...], groups: tuple[str, ...]) -> None:
    assert component(kind, "acme.thing", consumes=consumes).groups == groups


def test_options_of_a_group_hold_full_names_and_unique_aliases() -> None:
    filled = registry(
        component("encoder", "acme.vit", consumes=("image",)),
        component("encoder", "other.vit", consumes=("image",)),
        component("encoder", "other.clip", consumes=("image", "text")),
    )
    assert set(filled.group_options("encoder/image")) == {"acme.vit", "other.vit", "other.clip", "clip"}
    assert set(filled.group_options("encoder/text")) == {"other.clip", "clip"}
    assert filled.groups == {"encoder/image", "encoder/text"}


def test_components_come_by_kind_and_name() -> None:
    filled = registry(
        component("head", "b.x"),
        component("head", "a.x"),
        component("encoder", "z.x"),
        component("source", "m.x"),
    )
    assert [c.name for c in filled.of_kind()] == ["m.x", "z.x", "a.x", "b.x"]
    assert [c.name for c in filled.of_kind("head")] == ["a.x", "b.x"]


def test_nothing_is_imported_before_the_factory_is_asked_for() -> None:
    lazy = component("encoder", "acme.vit", target="absent_package.model:build")
    assert registry(lazy).get("encoder", "vit") is lazy
    with pytest.raises(PluginError, match=r"'acme\.vit' of acme-hub 2\.1 cannot be built: \w+: No module"):
        lazy.factory()


def test_a_factory_that_is_not_in_its_module_is_told() -> None:
    with pytest.raises(PluginError, match="cannot be built: AttributeError: module 'json' has no"):
        component("encoder", "acme.vit", target="json:absent").factory()


@pytest.mark.parametrize(
    ("code", "cause", "cure"),
    [
        ("1 / 0", "ZeroDivisionError: division by zero", "its author: mend bad_target.py, line 1"),
        ("raise SystemExit('bye')", "SystemExit: bye", "its author: mend bad_target.py, line 1"),
        (
            "import absent.deep",
            "No module named 'absent'",
            "pip install --force-reinstall acme-hub; if absent is",
        ),
    ],
)
def test_whatever_a_module_raises_is_told_with_its_cure(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: str, cause: str, cure: str
) -> None:
    (tmp_path / "bad_target.py").write_text(code)
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(PluginError) as raised:
        component("encoder", "acme.vit", target="bad_target:build").factory()
    assert cause in str(raised.value)
    assert cure in str(raised.value)


def test_one_name_or_several_become_a_tuple() -> None:
    assert as_names("text") == ("text",)
    assert as_names(["text", "image"]) == ("text", "image")
