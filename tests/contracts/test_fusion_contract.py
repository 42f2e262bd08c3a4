"""What ``matrixhub.Fusion`` promises, for every installed fusion."""

from typing import Any

import pytest
import torch

import matrixhub as mh
from matrixhub.protocols import Fusion
from matrixhub.registry import Component
from tests.contracts.tiny import FUSIONS

DIMS = {"text": 4, "image": 6}
B = 5


def build(component: Component) -> Any:
    assert component.name in FUSIONS, f"give {component.name} a line in tests/contracts/tiny.py"
    torch.manual_seed(0)
    return mh.create("fusion", component.name, dims=DIMS, **FUSIONS[component.name]).eval()


def inputs(*, requires_grad: bool = False) -> dict[str, mh.Features]:
    made = torch.Generator().manual_seed(1)
    return {
        name: mh.Features(torch.randn(B, dim, generator=made).requires_grad_(requires_grad))
        for name, dim in DIMS.items()
    }


@pytest.fixture(params=mh.list_components("fusion"), ids=lambda c: c.name)
def component(request: pytest.FixtureRequest) -> Component:
    found: Component = request.param
    return found


def test_pooled_features_have_the_declared_width(component: Component) -> None:
    fusion = build(component)
    assert isinstance(fusion, Fusion) and isinstance(fusion, torch.nn.Module)
    fused = fusion(inputs())
    assert fused.pooled_BD.shape == (B, fusion.dim)
    assert fused.pooled_BD.isfinite().all()


def test_every_input_matters_and_gets_a_gradient(component: Component) -> None:
    given = inputs(requires_grad=True)
    build(component)(given).pooled_BD.square().sum().backward()
    for features in given.values():
        assert features.pooled_BD.grad is not None
        assert features.pooled_BD.grad.abs().sum() > 0


def test_the_order_of_the_mapping_does_not_matter(component: Component) -> None:
    fusion, given = build(component), inputs()
    backwards = dict(reversed(given.items()))
    assert torch.equal(fusion(given).pooled_BD, fusion(backwards).pooled_BD)


def test_rows_are_fused_one_by_one(component: Component) -> None:
    fusion, given = build(component), inputs()
    third = {name: mh.Features(features.pooled_BD[2:3]) for name, features in given.items()}
    torch.testing.assert_close(fusion(third).pooled_BD[0], fusion(given).pooled_BD[2], atol=1e-5, rtol=1e-5)


def test_inputs_are_not_changed_and_weights_survive(component: Component) -> None:
    fusion, given = build(component), inputs()
    kept = {name: features.pooled_BD.clone() for name, features in given.items()}
    expected = fusion(given).pooled_BD
    assert all(torch.equal(features.pooled_BD, kept[name]) for name, features in given.items())
    again = build(component)
    again.load_state_dict(fusion.state_dict())
    assert torch.equal(again(given).pooled_BD, expected)
