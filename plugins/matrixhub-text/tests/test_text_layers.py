"""Models of each family cut in two: both halves together answer as the whole."""

from typing import Any

import pytest
import torch
import transformers
from matrixhub_text.layers import num_layers, split

from matrixhub import ConfigError

UNCUT = ("modernbert",)


def features(encoder: Any, texts: list[str]) -> Any:
    with torch.no_grad():
        return encoder(encoder.processor.collate(encoder.processor.prepare(texts)))


@pytest.mark.parametrize("cut", [("mean", 1), ("cls", 1), ("max", 2)], ids=str)
def test_cut_it_answers_as_whole(
    build: Any, tiny: Any, family: str, texts: list[str], cut: tuple[str, int]
) -> None:
    pooling, num_trainable = cut
    encoder = build(checkpoint=tiny(family), max_length=40, pooling=pooling)
    if family in UNCUT:
        assert encoder.num_layers == 0
        with pytest.raises(ConfigError, match="DistilBERT can"):
            encoder.split(num_trainable)
        return
    assert encoder.num_layers == 2
    prefix, suffix = encoder.split(num_trainable)
    whole, answer = features(encoder, texts), suffix(features(prefix, texts))
    torch.testing.assert_close(answer.pooled_BD, whole.pooled_BD, atol=1e-6, rtol=0)
    real = whole.mask_BT
    torch.testing.assert_close(answer.tokens_BTD[real], whole.tokens_BTD[real], atol=1e-6, rtol=0)


def test_electra_with_narrow_embeddings_is_cut_above_them() -> None:
    sizes = {"embedding_size": 8, "hidden_size": 16, "num_attention_heads": 2, "intermediate_size": 32}
    config = transformers.ElectraConfig(vocab_size=20, num_hidden_layers=3, **sizes)
    model = transformers.ElectraModel(config).eval()
    first, last = split(model, 2)
    ids = torch.arange(12).reshape(2, 6)
    mask = torch.ones_like(ids)
    with torch.no_grad():
        hidden = first(input_ids=ids, attention_mask=mask).last_hidden_state
        answer = last(inputs_embeds=hidden, attention_mask=mask).last_hidden_state
        expected = model(input_ids=ids, attention_mask=mask).last_hidden_state
    assert num_layers(model) == 3
    torch.testing.assert_close(answer, expected, atol=1e-6, rtol=0)


def test_an_encoder_that_averages_layers_is_refused(build: Any, tiny: Any) -> None:
    with pytest.raises(ConfigError, match="layers=2: an encoder that averages layers cannot be cut"):
        build(checkpoint=tiny("bert"), max_length=40, layers=2).split(1)
