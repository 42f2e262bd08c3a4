"""What a generator reads before its prompt."""

from typing import Any

import pytest
import torch

import matrixhub as mh

DIMS = {"image": 6, "row": 3}


def prefix(**options: Any) -> Any:
    torch.manual_seed(0)
    return mh.create("fusion", "prefix", dims=DIMS, dim=16, **options).eval()


def features(scale: float = 1.0, rows: int = 5) -> dict[str, mh.Features]:
    seeded = torch.Generator().manual_seed(1)
    return {n: mh.Features(scale * torch.randn(rows, dim, generator=seeded)) for n, dim in DIMS.items()}


@pytest.mark.parametrize("hidden", [0, 32])
def test_each_row_has_so_many_vectors_of_the_generators_width(hidden: int) -> None:
    found = prefix(num_tokens=3, hidden=hidden)(features())
    assert found.tokens_BTD is not None and found.mask_BT is not None
    assert found.tokens_BTD.shape == (5, 3, 16)
    assert found.mask_BT.shape == (5, 3) and found.mask_BT.all()
    torch.testing.assert_close(found.pooled_BD, found.tokens_BTD.mean(dim=1))


@pytest.mark.parametrize("scale", [0.01, 1.0, 1000.0])
def test_vectors_have_a_spread_of_one_whatever_that_of_the_features(scale: float) -> None:
    tokens = prefix()(features(scale)).tokens_BTD
    torch.testing.assert_close(
        tokens.std(dim=-1, correction=0), torch.ones(tokens.shape[:2]), rtol=0.01, atol=0
    )


def test_other_features_are_other_vectors_and_all_parameters_learn() -> None:
    module = prefix(dropout=0.0).train()
    tokens = module(features()).tokens_BTD
    assert (tokens[0] - tokens[1]).abs().max() > 0.1
    (tokens * torch.linspace(-1, 1, tokens.numel()).view_as(tokens)).sum().backward()
    assert all(one.grad is not None and one.grad.abs().sum() > 0 for one in module.parameters())


@pytest.mark.parametrize(
    ("options", "says"),
    [({"num_tokens": 0}, "num_tokens=0"), ({"hidden": -1}, "hidden=-1"), ({"dropout": 1.0}, "dropout=1.0")],
)
def test_what_cannot_be_is_named(options: dict[str, Any], says: str) -> None:
    with pytest.raises(mh.ConfigError, match=says):
        prefix(**options)


def test_the_width_of_the_generator_is_asked_for() -> None:
    with pytest.raises(mh.ConfigError, match="needs dim="):
        mh.create("fusion", "prefix", dims=DIMS)
