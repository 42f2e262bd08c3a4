"""Attention, positions and losses against their papers' formulas and values worked out by hand."""

import math

import numpy as np
import pytest
import torch
from matrixhub_pretraining.loop import learning_rate
from matrixhub_pretraining.model import Pretraining, know_frequencies, new_model
from matrixhub_pretraining.options import PretrainConfig, TrainerConfig, compose
from matrixhub_pretraining.positions import position_table, sinusoidal
from matrixhub_pretraining.pretrain import entropy
from torch import Tensor
from transformers import BertTokenizer

VOCABULARY = {t: i for i, t in enumerate(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *"abcdefgh"])}


def options(*words: str) -> PretrainConfig:
    small = ["model.size=tiny", "model.dropout=0", "objective.max_length=16"]
    return compose(["output=x", "corpus.path=x.txt", *small, *words])


def model(*words: str) -> Pretraining:
    return new_model(options(*words), BertTokenizer(vocab=VOCABULARY)).eval()


def test_sinusoidal_positions_are_those_of_the_paper() -> None:
    """PE(p, 2i) = sin(p / 10000^(2i/d)), PE(p, 2i+1) = cos of the same; for d = 4 the rates are 1, 1/100."""
    wanted = torch.tensor(
        [
            [0.0, 1.0, 0.0, 1.0],
            [0.8414710, 0.5403023, 0.0099998, 0.9999500],
            [0.9092974, -0.4161468, 0.0199987, 0.9998000],
            [0.1411200, -0.9899925, 0.0299955, 0.9995500],
        ]
    )
    torch.testing.assert_close(sinusoidal(4, 4), wanted, atol=1e-6, rtol=0)
    for position, i in ((17, 3), (500, 100)):
        angle = position / 10000 ** (2 * i / 256)
        found = sinusoidal(512, 256)[position, 2 * i : 2 * i + 2].tolist()
        assert found == pytest.approx([math.sin(angle), math.cos(angle)], abs=1e-5)


def test_a_model_may_have_them_and_keeps_them() -> None:
    made = model("model.positions=sinusoidal")
    weight = made.bert.bert.embeddings.position_embeddings.weight
    torch.testing.assert_close(weight.detach(), sinusoidal(16, 128) / math.sqrt(128))
    assert not weight.requires_grad
    assert model().bert.bert.embeddings.position_embeddings.weight.requires_grad


def test_divided_positions_are_the_papers_scaled_tokens() -> None:
    """Vaswani et al. multiply tokens by the root of d; after normalization that is the same."""
    token_D, position_D = torch.randn(64), sinusoidal(8, 64)[5]
    norm = torch.nn.LayerNorm(64, eps=0)
    torch.testing.assert_close(
        norm(token_D + position_table(8, 64)[5]), norm(math.sqrt(64) * token_D + position_D)
    )


def attend(made: Pretraining, hidden_BTD: Tensor, mask: Tensor | None = None) -> Tensor:
    found: Tensor = made.bert.bert.encoder.layer[0].attention.self(hidden_BTD, mask)[0]
    return found


def test_attention_by_hand() -> None:
    """One head, two wide, Q = K = V = X: softmax(X X^T / sqrt(2)) X of X = [[1, 0], [0, 2]].

    Row 1: scores (1, 0) / 1.41421 = (0.70711, 0), weights (0.66976, 0.33024), so (0.66976, 0.66048).
    Row 2: scores (0, 4) / 1.41421 = (0, 2.82843), weights (0.05581, 0.94419), so (0.05581, 1.88838).
    With the second token masked, all weight is on the first.
    """
    made = model("model.width=2", "model.heads=1")
    inside = made.bert.bert.encoder.layer[0].attention.self
    with torch.no_grad():
        for linear in (inside.query, inside.key, inside.value):
            linear.weight.copy_(torch.eye(2))
            linear.bias.zero_()
    x_BTD = torch.tensor([[[1.0, 0.0], [0.0, 2.0]]])
    wanted = torch.tensor([[[0.66976, 0.66048], [0.05581, 1.88838]]])
    torch.testing.assert_close(attend(made, x_BTD), wanted, atol=2e-5, rtol=0)
    only_first = torch.tensor([[[[True, False]]]])
    masked = attend(made, x_BTD, only_first)
    torch.testing.assert_close(masked, torch.tensor([[[1.0, 0.0], [1.0, 0.0]]]))


def test_attention_is_the_papers_formula_head_by_head() -> None:
    made = model("model.width=16", "model.heads=2")
    inside = made.bert.bert.encoder.layer[0].attention.self
    torch.manual_seed(1)
    x_BTD = torch.randn(2, 5, 16)
    mask_BT = torch.tensor([[1, 1, 1, 1, 1], [1, 1, 1, 0, 0]], dtype=torch.bool)
    q, k, v = (f(x_BTD).detach().numpy() for f in (inside.query, inside.key, inside.value))
    wanted = np.empty((2, 5, 16))
    for row in range(2):
        for head in (slice(0, 8), slice(8, 16)):
            scores = q[row][:, head] @ k[row][:, head].T / math.sqrt(8)
            scores[:, ~mask_BT[row].numpy()] = -np.inf
            weights = np.exp(scores - scores.max(axis=1, keepdims=True))
            weights /= weights.sum(axis=1, keepdims=True)
            wanted[row][:, head] = weights @ v[row][:, head]
    found = attend(made, x_BTD, mask_BT[:, None, None, :]).detach().numpy()
    np.testing.assert_allclose(found, wanted, atol=1e-5)


def batch() -> dict[str, Tensor]:
    return {
        "input_ids": torch.tensor([[2, 4, 6, 3, 7, 3], [2, 5, 3, 4, 3, 0]]),
        "attention_mask": torch.tensor([[1, 1, 1, 1, 1, 1], [1, 1, 1, 1, 1, 0]]),
        "token_type_ids": torch.tensor([[0, 0, 0, 0, 1, 1], [0, 0, 0, 1, 1, 0]]),
        "masked": torch.tensor([1, 9]),
        "guess": torch.tensor([5, 8]),
        "random": torch.tensor([0, 1]),
    }


def test_losses_are_those_of_transformers() -> None:
    made, given = model(), batch()
    labels = torch.full((2, 6), -100)
    labels[0, 1], labels[1, 3] = 5, 8
    inputs = {name: given[name] for name in ("input_ids", "attention_mask", "token_type_ids")}
    wanted = made.bert(**inputs, labels=labels, next_sentence_label=given["random"])
    loss, guessed, pair_loss, right = made(given)
    torch.testing.assert_close(loss / 2 + pair_loss / 2, wanted.loss)
    assert int(right) == int((wanted.seq_relationship_logits.argmax(-1) == given["random"]).sum())
    assert int(guessed) == int(
        sum(wanted.prediction_logits[i].argmax(-1) == g for i, g in (((0, 1), 5), ((1, 3), 8)))
    )


def test_a_model_without_pairs_has_one_loss() -> None:
    made = model("objective.next_sentence=false")
    loss, _, pair_loss, right = made(batch())
    assert float(loss.detach()) > 0 and float(pair_loss.detach()) == float(right.detach()) == 0


def test_the_head_shares_the_embeddings_and_begins_with_frequencies() -> None:
    made = model()
    head, words = made.bert.cls.predictions, made.bert.bert.embeddings.word_embeddings
    assert head.decoder.weight is words.weight
    counts = np.zeros(13, dtype=np.int64)
    counts[5:9] = 400, 300, 200, 100
    with torch.no_grad():
        for parameter in made.parameters():
            parameter.zero_()
    know_frequencies(made, counts)
    chances = made.bert.cls.predictions(torch.zeros(1, 128)).softmax(dim=-1)[0]
    assert chances[5:9].tolist() == pytest.approx([0.4, 0.3, 0.2, 0.1], abs=0.01)
    given = batch()
    given["guess"] = torch.tensor([5, 6])
    assert float(made(given)[0].detach()) == pytest.approx(-math.log(0.4) - math.log(0.3), abs=0.03)


def test_weights_are_as_bert_has_them_at_its_width_and_wider_apart_in_a_narrow_one() -> None:
    assert (
        new_model(
            options("model.width=768", "model.layers=1"), BertTokenizer(vocab=VOCABULARY)
        ).bert.config.initializer_range
        == 0.02
    )
    narrow = model("model.width=192")
    assert narrow.bert.config.initializer_range == pytest.approx(0.04)
    assert float(
        narrow.bert.bert.encoder.layer[0].attention.self.query.weight.detach().std()
    ) == pytest.approx(0.04, rel=0.05)


def test_entropy_in_nats() -> None:
    assert entropy(np.array([1, 0, 1, 2])) == pytest.approx(1.5 * math.log(2))


def test_the_learning_rate_rises_and_falls_and_the_head_may_go_first() -> None:
    plain = TrainerConfig(steps=10, warmup=0.2)
    rates = [learning_rate(step, plain, is_head=False) for step in range(10)]
    assert rates == pytest.approx([0.5, 1, 1, 0.875, 0.75, 0.625, 0.5, 0.375, 0.25, 0.125])
    first = TrainerConfig(steps=10, warmup=0.2, head_first=0.5, schedule="constant")
    assert [learning_rate(step, first, is_head=False) for step in range(10)] == [0, 0, 0, 0, 0, 1, 1, 1, 1, 1]
    assert all(learning_rate(step, first, is_head=True) == 1 for step in range(10))


def test_while_the_encoder_is_still_only_the_head_has_gradients() -> None:
    made, given = model("objective.next_sentence=false"), batch()
    wanted = made(given)
    made.still = True
    found = made(given)
    torch.testing.assert_close(found, wanted)
    found[0].backward()
    moved = {name for name, parameter in made.bert.named_parameters() if parameter.grad is not None}
    assert moved and all(name.startswith("cls.") for name in moved), "the shared embeddings stay too"
