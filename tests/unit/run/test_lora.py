"""Low-rank matrices in frozen encoders: what trains, what is shared, what is stored."""

from typing import Any

import pytest
import torch
from torch import nn

from matrixhub.errors import ArtifactError, ConfigError
from matrixhub.run.lora import adapted, load_adapter, split_state
from tests.toy_generators import build
from tests.unit.run.test_layers import batch, encoder

OPTIONS: dict[str, Any] = {"rank": 2, "alpha": 4.0, "dropout": 0.0, "targets": None}


def trained(base: Any) -> Any:
    """An adapted twin whose matrices are not those it began with."""
    twin = adapted(base, OPTIONS).eval()
    with torch.no_grad():
        for parameter in twin.parameters():
            if parameter.requires_grad:
                parameter.normal_(std=0.1)
    return twin


def test_it_begins_as_the_encoder_and_shares_its_weights() -> None:
    base = encoder()
    before = list(base.state_dict())
    twin = adapted(base, OPTIONS).eval()
    assert torch.equal(twin(batch(base)).pooled_BD, base(batch(base)).pooled_BD)
    assert {id(p) for p in base.parameters()} <= {id(p) for p in twin.parameters()}
    assert list(base.state_dict()) == before
    assert [p.shape for p in twin.parameters() if p.requires_grad] == [(2, 8), (8, 2)] * 2


def test_matrices_are_trained_in_float32_whatever_the_frozen_weights_are() -> None:
    """In bfloat16 a step of a thousandth would leave most numbers as they were."""
    twin = adapted(encoder().bfloat16(), OPTIONS)
    kinds = {p.requires_grad: p.dtype for p in twin.parameters()}
    assert kinds == {True: torch.float32, False: torch.bfloat16}


def test_stored_base_and_matrices_make_it_again() -> None:
    base = encoder()
    twin = trained(base)
    state, adapter = split_state(twin.state_dict(), is_adapted=True)
    assert state.keys() == base.state_dict().keys()
    again = adapted(encoder(), OPTIONS).eval()
    load_adapter(again, adapter)
    assert torch.equal(again(batch(base)).pooled_BD, twin(batch(base)).pooled_BD)
    assert not torch.equal(again(batch(base)).pooled_BD, base(batch(base)).pooled_BD)


def test_several_stand_side_by_side_on_one_base() -> None:
    base = encoder()
    expected = base(batch(base)).pooled_BD
    one, other = trained(base), trained(base)
    assert not torch.equal(one(batch(base)).pooled_BD, other(batch(base)).pooled_BD)
    assert torch.equal(base(batch(base)).pooled_BD, expected)


def test_an_encoder_without_matrices_is_stored_whole() -> None:
    state, adapter = split_state(encoder().state_dict(), is_adapted=False)
    assert state.keys() == encoder().state_dict().keys() and not adapter


def test_matrices_of_another_encoder_are_refused() -> None:
    _, adapter = split_state(trained(encoder(3)).state_dict(), is_adapted=True)
    with pytest.raises(ArtifactError, match=r"unexpected: blocks\.2"):
        load_adapter(adapted(encoder(), OPTIONS), adapter)
    with pytest.raises(ArtifactError, match="missing"):
        load_adapter(adapted(encoder(), OPTIONS), {})


def test_targets_that_are_not_there_are_told_with_those_that_are() -> None:
    with pytest.raises(ConfigError, match=r"no layers named query\. Choose from: linear"):
        adapted(encoder(), {**OPTIONS, "targets": ["query"]})


def test_statistics_of_the_shared_base_stay_as_they_are() -> None:
    """Other cells and artifacts hold the same running means."""

    class Normed(nn.Module):
        processor = None

        def __init__(self) -> None:
            super().__init__()
            self.norm, self.linear = nn.BatchNorm1d(4), nn.Linear(4, 4)

        def forward(self, given: torch.Tensor) -> torch.Tensor:
            return self.linear(self.norm(given))  # type: ignore[no-any-return]

    base = Normed().requires_grad_(False).eval()
    before = {name: tensor.clone() for name, tensor in base.state_dict().items()}
    twin = adapted(base, OPTIONS).train()
    twin(torch.randn(16, 4) + 3).sum().backward()
    assert all(torch.equal(before[name], tensor) for name, tensor in base.state_dict().items())
    assert twin.training and any(p.grad is not None for p in twin.parameters())


@pytest.mark.parametrize("family", ["llama", "gpt2", "t5"])
def test_of_a_language_model_every_linear_layer_learns_but_the_last(
    family: str, recwarn: pytest.WarningsRecorder
) -> None:
    """GPT-2's linear layers are of a class of their own; that of the vocabulary would be the largest."""
    base = build(family)
    twin = adapted(base, OPTIONS)
    learns = {name.partition(".lora_")[0] for name, p in twin.named_parameters() if p.requires_grad}
    assert len(learns) >= 8 and not [name for name in learns if "lm_head" in name]
    assert not [w for w in recwarn if "fan_in_fan_out" in str(w.message)]
    before = [one.text for one in base.generate(["The capital"], max_new_tokens=4)]
    assert [one.text for one in twin.generate(["The capital"], max_new_tokens=4)] == before
