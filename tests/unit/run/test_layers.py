"""Encoders cut in two: who holds which weights, in which mode, and how large hidden states are."""

from typing import Any

import pytest
import torch

from matrixhub.errors import ConfigError
from matrixhub.plugins import hub
from matrixhub.run.feed import FeatureFeed
from matrixhub.run.layers import PartlyFrozen, cut, estimated_bytes, own_copy, with_whole_encoders
from matrixhub.run.model import ProductModel
from matrixhub.types import Features
from tests.unit.run import tiny

CPU = torch.device("cpu")
ROWS = ["a b c", "a", "one two three four", ""]


def encoder(layers: int = 2, **options: Any) -> Any:
    factory = hub().component("encoder", "fixture.hash_text").factory()
    built = factory(dim=8, buckets=64, max_length=8, budget=512, seed=0, layers=layers, **options)
    return built.requires_grad_(False).eval()


def batch(whole: Any) -> Any:
    return whole.processor.collate(whole.processor.prepare(ROWS))


def test_only_the_last_layers_train_and_are_in_the_module() -> None:
    partly = PartlyFrozen(encoder(), 1)
    assert [tuple(p.shape) for p in partly.parameters()] == [(8, 8), (8,)]
    assert all(p.requires_grad for p in partly.parameters())
    assert sum(p.requires_grad for p in partly.whole.parameters()) == 2


def test_hidden_states_and_rows_give_what_the_whole_gives() -> None:
    whole = encoder()
    partly = PartlyFrozen(whole, 1)
    prefix, _ = cut(whole, 1)
    expected = whole(batch(whole)).pooled_BD
    torch.testing.assert_close(partly(batch(whole)).pooled_BD, expected, atol=1e-6, rtol=0)
    torch.testing.assert_close(partly(prefix(batch(whole))).pooled_BD, expected, atol=1e-6, rtol=0)


def test_frozen_layers_stay_in_eval_mode_and_without_gradients() -> None:
    whole = encoder()
    partly = PartlyFrozen(whole, 1).train()
    assert partly.suffix.training
    assert not whole.table.training and not whole.blocks[0].training
    partly(batch(whole)).pooled_BD.sum().backward()
    assert whole.table.weight.grad is None
    assert whole.blocks[1].linear.weight.grad is not None


def test_a_copy_of_its_own_shares_what_it_is_told_to() -> None:
    whole = encoder()
    prefix, _ = cut(whole, 1)
    twin = own_copy(whole, shared=prefix.parameters())
    assert twin.processor is whole.processor
    assert twin.table.weight is whole.table.weight
    assert twin.blocks[0].linear.weight is whole.blocks[0].linear.weight
    assert twin.blocks[1].linear.weight is not whole.blocks[1].linear.weight


def test_a_model_ends_with_its_whole_encoders() -> None:
    partly = PartlyFrozen(encoder(), 1)
    plain = tiny.model()
    model = with_whole_encoders(ProductModel({"text": partly}, {"x": "text"}, plain.readout).train())
    assert model.encoders["text"] is partly.whole
    assert not any(module.training for module in model.modules())


@pytest.mark.parametrize(
    ("given", "layers", "told"),
    [
        (encoder(), 3, "has 2 layers here"),
        (encoder(0), 1, "no layers"),
        (torch.nn.Linear(1, 1), 1, "cannot be cut"),
    ],
    ids=["too many", "none", "not layered"],
)
def test_what_cannot_be_cut_says_so(given: Any, layers: int, told: str) -> None:
    with pytest.raises(ConfigError, match=told):
        cut(given, layers)


def test_the_room_that_hidden_states_take_is_known_beforehand() -> None:
    prefix, _ = cut(encoder(), 1)
    texts = [f"{'word ' * (1 + i % 5)}" for i in range(500)]
    words = sum(len(text.split()) for text in texts)
    found = estimated_bytes(prefix, lambda rows: [texts[i] for i in rows], len(texts), device=CPU)
    assert found == pytest.approx(4 * 8 * words, rel=0.05)


def test_a_feed_knows_the_lengths_of_its_rows() -> None:
    stored = tiny.features()
    stored.spans[:, 1] = 1 + torch.arange(len(stored.spans)) % 3
    feed = FeatureFeed({"x": stored}, CPU)
    rows = torch.tensor([4, 0, 5]).numpy()
    lengths = feed.lengths(rows)
    assert lengths is not None and lengths.tolist() == [2, 1, 3]
    assert feed.lengths(rows[:1]) is None


def test_a_model_with_encoders_takes_features_for_hidden_states() -> None:
    partly = PartlyFrozen(encoder(), 1)
    model = ProductModel({"text": partly}, {"x": "text"}, tiny.model().readout).eval()
    prefix, _ = cut(partly.whole, 1)
    hidden: Features = prefix(batch(partly.whole))
    outputs, _ = model({"x": hidden})
    again, _ = model({"x": batch(partly.whole)})
    torch.testing.assert_close(outputs["y"], again["y"], atol=1e-6, rtol=0)
