"""What the plugin shows to the hub, before anything heavy is imported."""

import dataclasses
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from matrixhub_text import plugin
from omegaconf import OmegaConf

import matrixhub as mh
from matrixhub.plugins import hub


def test_entry_module_imports_nothing_heavy() -> None:
    code = "import sys, matrixhub_text.plugin; print([m for m in sys.modules if '.' not in m])"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    for heavy in ("torch", "transformers", "numpy", "sklearn", "tokenizers", "accelerate", "pyarrow"):
        assert f"'{heavy}'" not in loaded


def test_presets_name_options_that_exist() -> None:
    (folder,) = plugin.matrixhub_config_dirs()
    presets = sorted(folder.glob("encoder/text/*.yaml"))
    fields = {field.name for field in dataclasses.fields(plugin.TransformerConfig)}
    assert {"bert_base", "bert_base_chinese", "distilbert", "roberta", "modernbert"} <= {
        p.stem for p in presets
    }
    for preset in presets:
        assert preset.read_text("utf-8").startswith("# ")
        config = OmegaConf.to_container(OmegaConf.load(preset))
        assert isinstance(config, dict)
        assert config.pop("defaults") == ["text.transformer", "_self_"]
        assert "checkpoint" in config and config.keys() <= fields


def test_registered_with_its_own_defaults() -> None:
    component = hub().component("encoder", "text.transformer")
    assert component.config is plugin.TransformerConfig
    assert (component.consumes, component.produces) == (("text",), ("pooled", "tokens", "layers"))
    assert all(folder in hub().config_dirs for folder in plugin.matrixhub_config_dirs())


def test_texts_longer_than_a_checkpoint_reads_are_refused_by_the_plan(
    tiny: Callable[[str], str], tmp_path: Path
) -> None:
    (tmp_path / "rows.csv").write_text("text,label\na,b\n")
    options = ["product=text", f"product.source.path={tmp_path}/rows.csv", "encoder/text=transformer"]
    options.append(f"encoder.text.checkpoint={tiny('bert')}")
    with pytest.raises(mh.ConfigError, match=r"reads 64 tokens at most: add encoder\.text\.max_length=64\."):
        mh.plan(options)
    assert mh.plan([*options, "encoder.text.max_length=64"]).cells


def test_a_checkpoint_that_does_not_tell_its_length_is_no_objection(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text("[]")
    (tmp_path / "tokenizer_config.json").write_text('{"model_max_length": 1e30}')
    for checkpoint in (str(tmp_path), "some/model", "no such folder", "package:nowhere/x"):
        options = {"name": "text.transformer", "checkpoint": checkpoint, "max_length": 10**6}
        assert list(plugin.matrixhub_check({"encoder": {"text": options}})) == []
