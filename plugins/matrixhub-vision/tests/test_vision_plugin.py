"""What the plugin shows to the hub, before anything heavy is imported."""

import dataclasses
import subprocess
import sys

import timm
from matrixhub_vision import plugin
from omegaconf import OmegaConf

from matrixhub.plugins import hub


def test_entry_module_imports_nothing_heavy() -> None:
    code = "import sys, matrixhub_vision.plugin; print([m for m in sys.modules if '.' not in m])"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    for heavy in ("torch", "timm", "torchvision", "numpy", "PIL", "huggingface_hub", "accelerate", "pyarrow"):
        assert f"'{heavy}'" not in loaded


def test_presets_name_options_and_models_that_exist() -> None:
    (folder,) = plugin.matrixhub_config_dirs()
    presets = sorted(folder.glob("encoder/image/*.yaml"))
    fields = {field.name for field in dataclasses.fields(plugin.TimmConfig)}
    wanted = {"vit_tiny", "vit_small", "vit_base", "resnet18", "resnet50", "efficientnet", "mobilenet_v2"}
    assert wanted <= {preset.stem for preset in presets}
    for preset in presets:
        assert preset.read_text("utf-8").startswith("# ")
        config = OmegaConf.to_container(OmegaConf.load(preset))
        assert isinstance(config, dict)
        assert config.pop("defaults") == ["vision.timm", "_self_"]
        assert config.keys() <= fields
        assert timm.get_pretrained_cfg(config["model"]).hf_hub_id


def test_registered_with_its_own_defaults() -> None:
    component = hub().component("encoder", "vision.timm")
    assert component.config is plugin.TimmConfig
    assert (component.consumes, component.produces) == (("image",), ("pooled", "tokens", "layers"))
    assert all(folder in hub().config_dirs for folder in plugin.matrixhub_config_dirs())
