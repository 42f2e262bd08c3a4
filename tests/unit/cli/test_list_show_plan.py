"""What is installed, what its options are, what would run."""

import json
from pathlib import Path

import pytest

import matrixhub as mh
from matrixhub.cli.main import main
from tests.command import command
from tests.fixture_plugin.fake import FAULTS, write_plugin


def said(capsys: pytest.CaptureFixture[str], *argv: str) -> str:
    assert main(argv) == 0
    return capsys.readouterr().out


def test_list_has_one_line_for_each_component(capsys: pytest.CaptureFixture[str]) -> None:
    lines = said(capsys, "list").splitlines()
    assert [line.split()[:2] for line in lines] == [[c.kind, c.name] for c in mh.list_components()]
    (toy,) = (line for line in lines if "fixture.toy" in line)
    assert "Made-up rows with every kind of column" in toy
    assert "[matrixhub-fixture 0.1.0]" in toy


@pytest.mark.parametrize("kind", ["encoder", "encoders"])
def test_list_of_one_kind(kind: str, capsys: pytest.CaptureFixture[str]) -> None:
    lines = said(capsys, "list", kind).splitlines()
    assert {line.split()[0] for line in lines} == {"encoder", "preset"}
    assert any("text.transformer" in line for line in lines)
    (minilm,) = (line for line in lines if line.split()[:2] == ["preset", "minilm"])
    assert minilm.endswith("[encoder/text=minilm]")


@pytest.mark.parametrize("group", ["product", "products", "trainer", "matrix", "encoder/text"])
def test_list_of_a_group(group: str, capsys: pytest.CaptureFixture[str]) -> None:
    lines = said(capsys, "list", group).splitlines()
    assert lines and all(line.startswith("preset ") for line in lines)
    assert all(f"[{group.rstrip('s')}" in line for line in lines)
    rows = json.loads(said(capsys, "list", group, "--json"))
    assert len(rows) == len(lines) and all(row["about"] for row in rows)


def test_what_is_neither_a_kind_nor_a_group(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["list", "prodct"]) == 2
    assert "Did you mean 'product'" in capsys.readouterr().err


def test_show_prints_a_preset(capsys: pytest.CaptureFixture[str]) -> None:
    page = said(capsys, "show", "frozen").splitlines()
    assert page[0] == "trainer=frozen" and page[1].startswith("# ")
    source, product = said(capsys, "show", "news").split("\n\nproduct=news\n")
    assert source.startswith("demo.news (source") and "name: news" in product
    assert main(["show", "frosen"]) == 2
    assert "Did you mean 'frozen'" in capsys.readouterr().err


def test_list_as_json(capsys: pytest.CaptureFixture[str]) -> None:
    rows = json.loads(said(capsys, "list", "head", "--json"))
    (linear,) = (row for row in rows if row["name"] == "heads.linear")
    assert linear["produces"] == ["classification", "multilabel", "regression", "token_classification"]
    assert linear["distribution"] == "matrixhub-heads"


def test_list_names_plugins_set_aside(tmp_path: Path) -> None:
    write_plugin(tmp_path, "acme", FAULTS["raises_at_import"].code)
    done = command("list", site=tmp_path)
    assert done.returncode == 0
    last = done.stdout.splitlines()[-1]
    assert last == "set aside  acme (fake-acme): RuntimeError: no licence file; see: matrixhub plugin doctor"


def test_show_gives_types_defaults_and_docs(capsys: pytest.CaptureFixture[str]) -> None:
    page = said(capsys, "show", "heads.mlp")
    assert page.startswith("heads.mlp (head, matrixhub-heads ")
    assert "Hidden layers with GELU, then a linear layer." in page
    assert "choose it with: head=heads.mlp" in page
    assert "head.hidden: list[int], default [256]\n      Width of each hidden layer." in page
    assert "head.standardize: str, default 'together'\n      Bring frozen features" in page


def test_show_says_what_is_required_read_and_given(capsys: pytest.CaptureFixture[str]) -> None:
    page = said(capsys, "show", "transformer")
    assert "encoder.text.checkpoint: str, required" in page
    assert "reads: text" in page
    assert "gives: pooled, tokens" in page
    assert "choose it with: encoder/text=text.transformer" in page
    assert "product.source.path: Any, required" in said(capsys, "show", "core.table")


@pytest.mark.parametrize("component", mh.list_components(), ids=lambda c: f"{c.kind} {c.name}")
def test_every_installed_component_can_be_shown_and_documents_its_options(
    component: "mh.registry.Component", capsys: pytest.CaptureFixture[str]
) -> None:
    page = said(capsys, "show", component.name)
    lines = page.splitlines()
    assert lines[1].strip(), "the config has no docstring"
    prefix = component.groups[0].replace("/", ".")
    for number, line in enumerate(lines):
        if line.startswith(f"  {prefix}."):
            assert number + 1 < len(lines) and lines[number + 1].startswith("      "), f"no doc: {line}"


def test_plan_as_json_is_the_plan(capsys: pytest.CaptureFixture[str]) -> None:
    argv = ["product=toy", "head=linear,mlp"]
    data = json.loads(said(capsys, "plan", *argv, "-m", "--json"))
    assert data == json.loads(json.dumps(mh.plan(argv, multirun=True).to_dict()))


def test_flags_may_stand_between_overrides(capsys: pytest.CaptureFixture[str]) -> None:
    assert said(capsys, "plan", "product=toy", "-m", "head=linear,mlp").startswith("2 cells")
    assert said(capsys, "plan", "--multirun", "head=linear,mlp", "product=toy").startswith("2 cells")
