"""Heads as a product uses them: built by name, trained on features, saved and loaded."""

import dataclasses
from typing import Any

import pytest
import torch
from matrixhub_heads.heads import TaskHead
from torch import Tensor

from matrixhub import ConfigError, Features, Target
from matrixhub.plugins import hub
from matrixhub.protocols import Head, Standardizes

B, T, D = 64, 5, 8
TARGETS = {
    "classification": Target("classification", ("a", "b", "c")),
    "multilabel": Target("multilabel", ("a", "b", "c")),
    "regression": Target("regression", mean=100.0, std=20.0),
    "token_classification": Target("token_classification", ("O", "B-X", "I-X")),
}
HEADS = [(name, task) for name in ("linear", "mlp", "pair") for task in TARGETS]
LEARNABLE = [(name, task) for name, task in HEADS if (name, task) != ("pair", "token_classification")]


def build(name: str, target: Target, *, dim: int = D, **options: Any) -> TaskHead:
    torch.manual_seed(0)
    head: TaskHead = hub().component("head", f"heads.{name}").factory()(dim=dim, target=target, **options)
    return head


def toy(task: str) -> tuple[Features, Tensor]:
    """Features of uneven scale, and targets that a linear layer can tell from them."""
    generator = torch.Generator().manual_seed(1)
    scale_D = torch.logspace(-2, 2, D // 2).repeat(2)  # the pair head's halves come from one encoder
    tokens_BTD = torch.randn(B, T, D, generator=generator) * scale_D + 50
    pooled_BD = tokens_BTD[:, 0]
    mask_BT = torch.arange(T) < torch.randint(1, T + 1, (B, 1), generator=generator)
    normal = (tokens_BTD - tokens_BTD.mean((0, 1))) / tokens_BTD.std((0, 1))
    logits_BTC = normal @ torch.randn(D, 3, generator=generator)
    targets = {
        "classification": logits_BTC[:, 0].argmax(-1),
        "multilabel": (logits_BTC[:, 0] > 0).float(),
        "regression": 100 + 20 * logits_BTC[:, 0, 0],
        "token_classification": logits_BTC.argmax(-1).where(mask_BT, torch.tensor(-100)),
    }
    return Features(pooled_BD, tokens_BTD, mask_BT), targets[task]


def moments(head: TaskHead, features: Features) -> tuple[Tensor, Tensor]:
    vectors_ND = features.pooled_BD
    if head.level == "tokens" and features.tokens_BTD is not None:
        vectors_ND = features.tokens_BTD.flatten(0, 1)
    return vectors_ND.mean(0), vectors_ND.std(0)


def train(head: TaskHead, features: Features, targets: Tensor, *, steps: int = 150) -> list[float]:
    optimizer = torch.optim.AdamW(head.parameters(), lr=0.03)
    losses = []
    for _ in range(steps):
        loss = head.loss(head(features), targets)
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        losses.append(loss.item())
    return losses


@pytest.mark.parametrize("name", ["linear", "mlp", "pair"])
def test_what_is_registered_is_what_is_built(name: str) -> None:
    component = hub().component("head", name)
    assert component.name == f"heads.{name}"
    options = dataclasses.asdict(component.config())
    for task in component.produces:
        head = build(name, TARGETS[task], **options)
        assert isinstance(head, Head)
        assert isinstance(head, Standardizes)
        assert head.level in component.consumes
        defaults = build(name, TARGETS[task])
        assert str(defaults) == str(head)


@pytest.mark.parametrize(("name", "task"), LEARNABLE)
def test_learns_what_can_be_learned(name: str, task: str) -> None:
    # The toy's features come in units of their own, from 0.01 to 100.
    head = build(name, TARGETS[task], dropout=0.0, standardize="each")
    features, targets = toy(task)
    head.standardize(*moments(head, features))
    losses = train(head, features, targets)
    assert all(torch.tensor(losses).isfinite())
    assert losses[-1] < losses[0] / 3
    with torch.no_grad():
        found = head.metrics(head(features), targets)
    assert found[head.metric] > 0.9


@pytest.mark.parametrize(("name", "task"), LEARNABLE)
def test_gradients_reach_every_parameter_and_the_features(name: str, task: str) -> None:
    head = build(name, TARGETS[task], hidden=[16, 4]) if name != "linear" else build(name, TARGETS[task])
    features, targets = toy(task)
    head.standardize(*moments(head, features))
    given = features.tokens_BTD if head.level == "tokens" else features.pooled_BD
    assert given is not None
    given.requires_grad_()
    head.loss(head(features), targets).backward()  # type: ignore[no-untyped-call]
    for what, parameter in head.named_parameters():
        assert parameter.grad is not None, what
        assert parameter.grad.abs().sum() > 0, what
    assert given.grad is not None
    assert given.grad.abs().sum() > 0


@pytest.mark.parametrize(("name", "task"), LEARNABLE)
def test_weights_and_standardization_are_in_the_state_dict(name: str, task: str) -> None:
    head = build(name, TARGETS[task])
    features, _ = toy(task)
    head.standardize(*moments(head, features))
    other = build(name, TARGETS[task])
    torch.manual_seed(5)
    for parameter in other.parameters():
        torch.nn.init.normal_(parameter)
    with torch.no_grad():
        expected = head.eval()(features)
        assert not torch.allclose(other.eval()(features), expected)
        other.load_state_dict(head.state_dict())
        assert torch.equal(other(features), expected)


def test_standardize_sets_one_scale_for_all_features() -> None:
    head = build("linear", TARGETS["classification"])
    features, _ = toy("classification")
    mean_D, std_D = features.pooled_BD.mean(0), features.pooled_BD.std(0)
    head.standardize(mean_D, std_D)
    seen: list[Tensor] = []
    head.network.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    head(features)
    assert torch.allclose(seen[0].mean(0), torch.zeros(D), atol=1e-3)
    assert seen[0].std(0).square().mean().item() == pytest.approx(1.0, abs=1e-4)
    # What varied more than another feature still does, in the same proportion.
    assert torch.allclose(seen[0].std(0) / seen[0].std(0)[0], std_D / std_D[0], atol=1e-4)


def test_standardize_each_feature_by_its_own_scale_and_spares_constant_ones() -> None:
    head = build("linear", TARGETS["classification"], standardize="each")
    head.standardize(torch.ones(D), torch.tensor([0.0, *[2.0] * (D - 1)]))
    assert head.feature_std.tolist() == [1.0, *[2.0] * (D - 1)]


@pytest.mark.parametrize("scaling", ["together", "each"])
def test_standardize_leaves_constant_features_finite(scaling: str) -> None:
    head = build("linear", TARGETS["classification"], standardize=scaling)
    head.standardize(torch.ones(D), torch.zeros(D))
    assert head.feature_std.tolist() == [1.0] * D


def test_standardize_can_be_switched_off() -> None:
    head = build("linear", TARGETS["classification"], standardize="none")
    head.standardize(torch.full((D,), 3.0), torch.full((D,), 2.0))
    assert head.feature_mean.tolist() == [0.0] * D
    assert head.feature_std.tolist() == [1.0] * D


def test_the_seed_makes_the_weights() -> None:
    same = [build("mlp", TARGETS["classification"]).state_dict() for _ in range(2)]
    assert all(torch.equal(same[0][key], same[1][key]) for key in same[0])


def test_low_precision_features_give_full_precision_outputs() -> None:
    head = build("linear", TARGETS["regression"])
    features, targets = toy("regression")
    with torch.autocast("cpu", torch.bfloat16):
        outputs = head(Features(features.pooled_BD.bfloat16()))
    assert outputs.dtype == torch.float32
    assert head.loss(outputs, targets).isfinite()


def test_regression_answers_in_the_units_of_the_data() -> None:
    head = build("linear", TARGETS["regression"])
    for parameter in head.parameters():
        torch.nn.init.zeros_(parameter)
    features, _ = toy("regression")
    outputs = head(features)
    assert outputs.shape == (B,)
    assert outputs.tolist() == [100.0] * B
    # One spread away everywhere is a loss of one.
    assert head.loss(outputs, outputs + 20).item() == pytest.approx(1.0)
    assert head.decode(outputs)[0].value == 100.0


@pytest.mark.parametrize("hidden", [[], [16]])
def test_pair_tells_equal_from_different(hidden: list[int]) -> None:
    """Whether u and v are alike: no linear function of u and v says it, |u - v| does."""
    generator = torch.Generator().manual_seed(2)
    u_NW = torch.randn(256, 4, generator=generator) * 3 + 7
    same = torch.arange(256) % 2
    v_NW = torch.where(same.bool()[:, None], u_NW, torch.randn(256, 4, generator=generator) * 3 + 7)
    features, swapped = Features(torch.cat([u_NW, v_NW], 1)), Features(torch.cat([v_NW, u_NW], 1))
    target = Target("classification", ("different", "same"))
    scores = {}
    for name in ("pair", "linear"):
        head = build(name, target, hidden=hidden) if name == "pair" else build(name, target)
        head.standardize(features.pooled_BD.mean(0), features.pooled_BD.std(0))
        train(head, features, same)
        scores[name] = [head.metrics(head(given), same)["accuracy"] for given in (features, swapped)]
    assert min(scores["pair"]) > 0.95
    assert max(scores["linear"]) < 0.7


def test_pair_measures_both_inputs_by_one_ruler() -> None:
    head = build("pair", TARGETS["classification"], dim=4)
    head.standardize(torch.tensor([0.0, 1.0, 2.0, 1.0]), torch.tensor([1.0, 2.0, 1.0, 2.0]))
    assert head.feature_mean.tolist() == [1.0, 1.0, 1.0, 1.0]
    # The spread of both together: within and between them, over all features.
    assert head.feature_std.tolist() == pytest.approx([3**0.5] * 4)


@pytest.mark.parametrize(
    ("name", "task", "options", "says"),
    [
        ("pair", "classification", {"dim": 5}, "two inputs"),
        ("linear", "classification", {"dropout": 1.0}, "head.dropout=1.0"),
        ("mlp", "classification", {"hidden": [16, 0]}, "head.hidden"),
        ("linear", "classification", {"label_smoothing": 1.5}, "head.label_smoothing=1.5"),
        ("linear", "classification", {"standardize": "all"}, "head.standardize=all"),
    ],
)
def test_options_that_cannot_be(name: str, task: str, options: dict[str, Any], says: str) -> None:
    with pytest.raises(ConfigError, match=says):
        build(name, TARGETS[task], **options)


def test_token_head_says_what_it_lacks() -> None:
    with pytest.raises(ValueError, match="token features"):
        build("linear", TARGETS["token_classification"])(Features(torch.zeros(2, D)))


@pytest.mark.parametrize("task", ["classification", "multilabel", "token_classification"])
def test_label_smoothing_raises_the_loss_of_a_sure_answer(task: str) -> None:
    plain, smooth = (build("linear", TARGETS[task], label_smoothing=share) for share in (0.0, 0.2))
    sure = {
        "classification": (torch.tensor([[50.0, 0, 0]]), torch.tensor([0])),
        "multilabel": (torch.tensor([[50.0, -50, -50]]), torch.tensor([[1.0, 0, 0]])),
        "token_classification": (torch.tensor([[[50.0, 0, 0]]]), torch.tensor([[0]])),
    }[task]
    assert plain.loss(*sure).item() < 1e-6
    assert smooth.loss(*sure).item() > 1.0
