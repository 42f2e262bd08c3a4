"""What the plugin shows to the hub, before anything heavy is imported."""

import dataclasses
import subprocess
import sys

from matrixhub_text import plugin
from omegaconf import OmegaConf

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
