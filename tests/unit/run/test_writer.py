"""A generator behind its bridge: what counts in the loss, and what has a gradient."""

import math
from typing import Any

import numpy as np
import pytest
import torch

import matrixhub as mh
from matrixhub.errors import PluginError
from matrixhub.run.feed import FeatureFeed
from matrixhub.run.writer import Likelihood, Writer, WriterFeed, bridge_for
from tests.unit.run.tiny import DIM, features

PRODUCT: dict[str, Any] = {"inputs": {"x": {}}, "outputs": {"said": {}}}
SPAN = {"name": "fixture.span", "num_tokens": 2}
PROMPTS, ANSWERS = ["say it: ", "", "a longer prompt: "], ["yes", "no, never", "it"]


def scribe() -> Any:
    return mh.create("generator", "scribe").eval()


def writer(generator: Any, *, fusion: Any = SPAN) -> Writer:
    torch.manual_seed(0)
    dims = {"x": DIM} if fusion else {}
    return Writer(generator, bridge_for(generator, fusion, dims, product=PRODUCT, learns=True))


def asked(rows: int = 3, *, prefix: bool = True) -> dict[str, Any]:
    feed = FeatureFeed({"x": features(rows)} if prefix else {}, torch.device("cpu"))
    ((_, inputs),) = WriterFeed({"said": PROMPTS}, {"said": ANSWERS}, feed).inputs([np.arange(rows)])
    return dict(inputs)


def test_the_bridge_has_gradients_and_a_frozen_generator_has_none() -> None:
    model = writer(scribe().requires_grad_(False))
    outputs, mask = model(asked())
    assert mask is None and outputs["said"].shape == (3, 2)
    outputs["said"][:, 0].mean().backward()
    bridge = dict(model.bridge.named_parameters())
    assert bridge and all(p.grad is not None and p.grad.abs().sum() > 0 for p in bridge.values())
    assert all(p.grad is None for p in model.generator.parameters())


def test_only_the_tokens_of_the_answer_count() -> None:
    """By hand, from the logits: the mean of -log p over its bytes and the end."""
    generator = scribe()
    (loss,) = generator.loss(["ab"], ["c"])
    embedded = generator.embed(torch.tensor([[256, ord("a"), ord("b"), ord("c")]]))
    log_p = generator.out(generator.cells(embedded)[0]).log_softmax(-1)[0]
    torch.testing.assert_close(loss, -(log_p[2, ord("c")] + log_p[3, 257]) / 2)


def test_a_rows_loss_does_not_depend_on_its_batch() -> None:
    model, whole = writer(scribe()), asked()
    together = model(whole)[0]["said"]
    for i in range(3):
        one = {part: {"said": [whole[part]["said"][i]]} for part in ("prompts", "answers")}
        given = {n: mh.Features(f.pooled_BD[i : i + 1]) for n, f in whole["features"].items()}
        torch.testing.assert_close(model({"features": given, **one})[0]["said"], together[i : i + 1])


def test_the_prefix_counts_and_has_the_spread_of_the_embeddings() -> None:
    generator = scribe()
    model, given = writer(generator), asked()
    first = model.bridge(given["features"])
    with torch.no_grad():
        generator.embed.weight *= 0.5
    torch.testing.assert_close(writer(generator).bridge(given["features"]), 0.5 * first)
    other = {"x": mh.Features(-given["features"]["x"].pooled_BD)}
    assert (model(given)[0]["said"] - model({**given, "features": other})[0]["said"]).abs().max() > 1e-4
    assert writer(generator, fusion=None).bridge({}) is None


def test_a_frozen_generator_stays_in_eval_mode() -> None:
    assert not writer(scribe().requires_grad_(False)).train().generator.training
    assert writer(scribe()).train().generator.training


def test_likelihood_is_the_mean_and_its_perplexity() -> None:
    """Training counts rows, perplexity tokens: the second row has three of four."""
    outputs = torch.tensor([[1.0, 1.0], [3.0, 3.0]])
    assert Likelihood().loss(outputs, torch.zeros(2)) == 2.0
    assert Likelihood().metrics(outputs, torch.zeros(2)) == {"perplexity": pytest.approx(math.exp(2.5))}


def test_longer_rows_are_known() -> None:
    feed = WriterFeed({"said": PROMPTS}, {"said": ANSWERS}, FeatureFeed({}, torch.device("cpu")))
    lengths = feed.lengths(np.array([0, 2]))
    assert lengths is not None and lengths.tolist() == [11, 19]


def test_what_a_component_is_not_is_told() -> None:
    echo = mh.create("generator", "echo")
    with pytest.raises(PluginError, match="Echo is registered to read a prefix, and is no TakesPrefix"):
        bridge_for(echo, SPAN, {"x": DIM}, product=PRODUCT, learns=False)
    with pytest.raises(PluginError, match="Echo is registered to learn, and is no LearnsToWrite"):
        bridge_for(echo, None, {}, product=PRODUCT, learns=True)
