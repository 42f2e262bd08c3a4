"""Every value of a product, an encoder, a head and the trainer can be overridden; types are kept."""

from pathlib import Path
from typing import Any

import pytest

from matrixhub.config.compose import Composer, Job, quoted
from matrixhub.config.presets import hidden_presets
from matrixhub.config.schema import TrainerConfig
from matrixhub.errors import ConfigError
from matrixhub.plugins import Hub, hub

TOY = ["product=toy", "encoder/text=hash"]


def compose(*overrides: str, config_dir: Path | None = None) -> Job:
    return Composer([config_dir] if config_dir else []).compose([*TOY, *overrides])


def value(config: Any, key: str) -> Any:
    for part in key.split("."):
        config = config[part]
    return config


def write(folder: Path, path: str, text: str) -> None:
    (folder / path).parent.mkdir(parents=True, exist_ok=True)
    (folder / path).write_text(text)


@pytest.mark.parametrize(
    ("override", "expected"),
    [
        ("product.name=mine", "mine"),
        ("product.source.rows=7", 7),
        ("product.source.given_split=true", True),
        ("product.inputs.text.column=other", "other"),
        ("product.inputs.text.column=[text,other]", ["text", "other"]),
        ("product.outputs.label.task=regression", "regression"),
        ("product.outputs.label.classes=[red,green]", ["red", "green"]),
        ("product.outputs.label.weight=0.5", 0.5),
        ("product.split.fractions=[0.5,0.25,0.25]", [0.5, 0.25, 0.25]),
        ("product.split.group=null", None),
        ("encoder.text.dim=8", 8),
        ("head.dropout=0.3", 0.3),
        ("head.standardize=none", "none"),
        ("product.split.stratify=true", True),
        ("trainer.lr=3e-4", 3e-4),
        ("trainer.encoder_lr=1e-5", 1e-5),
        ("trainer.clip=null", None),
        ("trainer.patience=null", None),
        ("trainer.schedule=linear", "linear"),
        ("launch.num_processes=2", 2),
        ("baseline=false", False),
        ("output_dir='/a b/c=d'", "/a b/c=d"),
        ("cache_dir=null", None),
    ],
)
def test_one_value_is_overridden_and_everything_else_is_left(override: str, expected: Any) -> None:
    key = override.partition("=")[0]
    plain, changed = compose().config, compose(override).config
    assert value(changed, key) == expected
    assert type(value(changed, key)) is type(expected)
    parent, last = value(plain, key.rpartition(".")[0]) if "." in key else plain, key.rpartition(".")[2]
    parent[last] = expected
    assert changed == plain


def test_defaults_of_the_schema_the_preset_and_the_component_meet() -> None:
    config = compose().config
    assert config["encoder"]["text"] == {
        "name": "fixture.hash_text", "dim": 64, "buckets": 4096, "max_length": 32, "budget": 4096, "seed": 0,
        "layers": 0,
    }  # fmt: skip
    assert config["head"]["name"] == "heads.linear"
    assert config["trainer"]["train_encoder"] is False
    assert config["product"]["outputs"]["label"] == {
        "task": "classification", "target": "label", "classes": None, "separator": "|", "weight": 1.0,
        "metrics": [], "prompt": None,
    }  # fmt: skip


def test_groups_are_chosen_by_full_name_alias_and_preset() -> None:
    for option, name, dim in (("hash", "hash_text", 64), ("hash_text", "hash_text", 32)):
        for head in ("mlp", "heads.mlp"):
            job = compose(f"encoder/text={option}", f"head={head}")
            assert job.config["encoder"]["text"]["name"] == f"fixture.{name}"
            assert job.config["encoder"]["text"]["dim"] == dim
            assert job.config["head"]["name"] == "heads.mlp"
            assert job.choices["encoder/text"] == option
            assert job.choices["head"] == head


def test_an_option_chosen_last_wins_and_brings_only_its_own_keys() -> None:
    job = compose("head=mlp", "head=linear")
    assert "hidden" not in job.config["head"]
    with pytest.raises(ConfigError, match=r"head\.hidden"):
        compose("head=linear", "head.hidden=[8]")


def test_inputs_and_outputs_are_added_and_left_out() -> None:
    added = compose(
        "+product.inputs={second: {column: other, modality: text}}",
        "+product.outputs={size: {task: regression, target: score}}",
    ).config["product"]
    assert list(added["inputs"]) == ["text", "second"]
    assert added["outputs"]["size"]["weight"] == 1.0
    left = compose("~product.inputs.text", "+product.inputs={b: {column: b, modality: text}}")
    assert list(left.config["product"]["inputs"]) == ["b"]


def test_values_of_a_group_can_be_given_as_a_mapping() -> None:
    config = compose("trainer={lr: 0.5, epochs: 2}").config
    assert (config["trainer"]["lr"], config["trainer"]["epochs"]) == (0.5, 2)
    assert config["trainer"]["batch_size"] == TrainerConfig().batch_size


def test_a_job_is_plain_data_without_hydra() -> None:
    job = compose()
    assert "hydra" not in job.config
    assert type(job.config["encoder"]) is dict
    assert not any(group.startswith("hydra") for group in job.choices)
    assert job.overrides == tuple(TOY)


def test_interpolations_of_ones_own_config_are_resolved() -> None:
    assert (
        compose("trainer.epochs=7", "trainer.patience=${trainer.epochs}").config["trainer"]["patience"] == 7
    )


def test_composing_twice_in_one_process_gives_the_same() -> None:
    composer = Composer()
    first = composer.compose(["product=toy", "trainer.lr=0.5"])
    other = composer.compose(["product=news"])
    assert composer.compose(["product=toy", "trainer.lr=0.5"]) == first
    assert Composer().compose(["product=toy", "trainer.lr=0.5"]) == first
    assert other.config["trainer"]["lr"] == TrainerConfig().lr


def test_a_preset_of_a_plugin_wins_over_the_bare_component_and_ones_own_folder_over_both(
    tmp_path: Path,
) -> None:
    write(tmp_path, "encoder/text/hash.yaml", "defaults: [fixture.hash_text, _self_]\ndim: 5\n")
    encoder = compose(config_dir=tmp_path).config["encoder"]["text"]
    assert (encoder["dim"], encoder["buckets"]) == (5, 512)
    assert compose().config["encoder"]["text"]["dim"] == 64


def test_a_plugin_adds_presets_and_replaces_no_shipped_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(tmp_path, "trainer/frozen.yaml", "lr: 0.25\n")
    write(tmp_path, "trainer/short.yaml", "epochs: 2\n")
    write(tmp_path, "config.yaml", "name: theirs\n")
    plain = compose()
    monkeypatch.setattr(Hub, "config_dirs", [tmp_path, *hub().config_dirs])
    assert compose() == plain
    assert compose("trainer=short").config["trainer"]["epochs"] == 2
    assert hidden_presets([tmp_path]) == ["config.yaml", "trainer/frozen.yaml"]
    assert hidden_presets(hub().config_dirs[1:]) == []


def test_ones_own_folder_adds_products_trainers_and_encoders(tmp_path: Path) -> None:
    write(tmp_path, "product/mine.yaml", "defaults: [toy, _self_]\nname: mine\nsplit: {seed: 3}\n")
    write(tmp_path, "trainer/short.yaml", "epochs: 2\n")
    write(tmp_path, "encoder/text/tiny.yaml", "defaults: [hash, _self_]\nseed: 4\n")
    job = compose("product=mine", "trainer=short", "encoder/text=tiny", config_dir=tmp_path)
    assert job.config["product"]["name"] == "mine"
    assert job.config["product"]["source"]["name"] == "fixture.toy"
    assert job.config["product"]["split"]["seed"] == 3
    assert job.config["trainer"]["epochs"] == 2
    assert (job.config["encoder"]["text"]["dim"], job.config["encoder"]["text"]["seed"]) == (64, 4)


def test_ones_own_config_replaces_the_root_without_losing_its_types(tmp_path: Path) -> None:
    write(tmp_path, "trainer/frozen.yaml", "lr: 0.25\n")
    assert compose(config_dir=tmp_path).config["trainer"]["lr"] == 0.25
    write(tmp_path, "trainer/frozen.yaml", "lr: soon\n")
    with pytest.raises(ConfigError, match=r"trainer/frozen\.yaml: trainer\.lr: 'soon' is not a number"):
        compose(config_dir=tmp_path)


def test_a_product_preset_may_choose_its_head(tmp_path: Path) -> None:
    assert Composer().compose(["product=pair"]).config["head"]["name"] == "heads.pair"
    assert Composer().compose(["product=pair", "head=mlp"]).config["head"]["name"] == "heads.mlp"


def test_a_product_of_ones_own_may_choose_its_encoder(tmp_path: Path) -> None:
    write(
        tmp_path,
        "product/mine.yaml",
        "defaults: [toy, override /encoder/text@_global_.encoder.text: hash, _self_]\n",
    )
    composer = Composer([tmp_path])
    assert composer.compose(["product=mine"]).choices["encoder/text"] == "hash"
    assert composer.compose(["product=mine", "encoder/text=bert_base"]).choices["encoder/text"] == "bert_base"


@pytest.mark.parametrize(
    ("typed", "wanted"),
    [
        ("product.name=情感", "product.name='情感'"),
        ("product.source.path=data/评论 2024.csv", "product.source.path='data/评论 2024.csv'"),
        ("x=[好, 坏, ok]", "x=['好', '坏', ok]"),
        ("x={a:好,b:1}", "x={a:'好',b:1}"),
        ("x=été,hiver", "x='été',hiver"),
        ("x='情感'", "x='情感'"),
        ("x=zip://桶/行.csv", "x='zip://桶/行.csv'"),
        ("x=a,b", "x=a,b"),
        ("~x", "~x"),
    ],
)
def test_values_in_any_script_need_no_quotes(typed: str, wanted: str) -> None:
    assert quoted([typed]) == [wanted]


def test_they_arrive_as_they_were_typed() -> None:
    job = compose("product.name=情感", "product.inputs={text:{column:正文,modality:text}}")
    assert job.config["product"]["name"] == "情感"
    assert job.config["product"]["inputs"]["text"]["column"] == "正文"
