"""Where values came from: it is told for each of them, and it is true."""

import itertools
import json
from pathlib import Path
from typing import Any

import pytest
import yaml  # type: ignore[import-untyped]

from matrixhub.cli.main import main
from matrixhub.config.compose import Composer
from matrixhub.config.provenance import annotated, by_key, provenance

TOY = ("product=toy", "encoder/text=hash")


def sources(*overrides: str, folder: Path | None = None) -> dict[str, str]:
    composer = Composer([folder] if folder else [])
    config = composer.compose(overrides).config
    return {key: one["source"] for key, one in by_key(config, provenance(composer, overrides)).items()}


@pytest.mark.parametrize(
    ("key", "source"),
    [
        ("trainer.epochs", "default of matrixhub"),
        ("encoder.text.name", "default of fixture.hash_text"),
        ("head.name", "default of heads.linear"),
        ("product.source.name", "default of fixture.toy"),
        ("product.name", "matrixhub_fixture/conf/product/toy.yaml"),
        ("launch.num_processes", "conf/launch/local.yaml"),
        ("product.split.seed", "default of matrixhub"),
    ],
)
def test_values_that_nobody_typed(key: str, source: str) -> None:
    assert sources(*TOY)[key] == source


@pytest.mark.parametrize(
    ("override", "key"),
    [
        ("trainer.lr=0.5", "trainer.lr"),
        ("encoder.text.dim=7", "encoder.text.dim"),
        ("cache_dir=null", "cache_dir"),
        ("++trainer.seed=3", "trainer.seed"),
        ("head={standardize: never}", "head.standardize"),
        ("+product.inputs={more: {column: text, modality: text}}", "product.inputs.more.column"),
    ],
)
def test_what_was_typed_and_only_that(override: str, key: str) -> None:
    before, after = sources(*TOY), sources(*TOY, override)
    told = f"typed: {override}"
    assert after.pop(key) == told
    assert {k for k, source in after.items() if source == told and k.startswith(key.rpartition(".")[0])} <= {
        "product.inputs.more.modality"
    }
    assert {k: v for k, v in after.items() if k in before and v != told} == {
        k: v for k, v in before.items() if after.get(k, told) != told
    }


def test_an_option_is_told_by_its_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "my own" / "trainer").mkdir(parents=True)
    (tmp_path / "my own" / "trainer" / "quick.yaml").write_text("defaults: [frozen, _self_]\nepochs: 1\n")
    found = sources(*TOY, "trainer=quick", "trainer.lr=1", folder=tmp_path / "my own")
    shipped = sources(*TOY, "trainer=frozen")
    assert found["trainer.epochs"] == "my own/trainer/quick.yaml"
    assert found["trainer.lr"] == "typed: trainer.lr=1"
    ours = {"trainer.epochs", "trainer.lr"}
    assert {k: v for k, v in found.items() if k not in ours} == {
        k: v for k, v in shipped.items() if k not in ours
    }


OPTIONS = ("trainer=frozen", "trainer=finetune", "trainer=partial", "trainer=lora")
HEADS = ("head=linear", "head=mlp", "head.standardize=never")
VALUES = ("trainer.epochs=2", "encoder.text.dim=9", "fusion=concat")


@pytest.mark.parametrize("case", list(itertools.product(OPTIONS, HEADS, VALUES)), ids=" ".join)
def test_the_source_of_a_value_really_sets_it(case: tuple[str, ...]) -> None:
    """Every value has a source, and where that is a file, the file holds just that value."""
    composer = Composer()
    overrides = [*TOY, *case]
    config = composer.compose(overrides).config
    found = by_key(config, provenance(composer, overrides))
    assert all(one["source"] for one in found.values())
    for key, one in found.items():
        source = str(one["source"])
        if source.startswith("typed: "):
            assert f"{key}={one['value']}" == source.removeprefix("typed: ")
        elif source.startswith("conf/"):
            assert held(composer, source, key) == one["value"]
    for override in case:
        key, _, _ = override.partition("=")
        if "." in key:
            assert found[key]["source"] == f"typed: {override}"


def held(composer: Composer, source: str, key: str) -> Any:
    """The value of a key in a shipped file, which may be packaged at the root."""
    name = source.removeprefix("conf/").removesuffix(".yaml")
    loaded = composer.loader.repository.load_config(name)
    assert loaded is not None
    node: Any = loaded.config
    group = name.rpartition("/")[0].replace("/", ".")
    for part in (key.removeprefix(f"{group}.") if group else key).split("."):
        node = node[part]
    return node


def test_the_page_is_the_config_as_yaml() -> None:
    composer = Composer()
    config = composer.compose(TOY).config
    assert yaml.safe_load(annotated(config, provenance(composer, TOY))) == config


def test_show_prints_it(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["show", *TOY, "trainer.lr=0.5"]) == 0
    lines = capsys.readouterr().out.splitlines()
    (rate,) = (line for line in lines if line.startswith("  lr:"))
    assert rate.split("#")[1].strip() == "typed: trainer.lr=0.5"
    assert main(["show", *TOY, "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["encoder.text.name"] == {
        "value": "fixture.hash_text",
        "source": "default of fixture.hash_text",
    }


def test_what_cannot_be_composed_is_said_as_ever(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["show", "product=toy", "trainer.lrr=1"]) == 2
    assert "Did you mean 'trainer.lr'" in capsys.readouterr().err
