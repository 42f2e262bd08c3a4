"""What each fusion computes, and what it learns that inputs side by side do not tell."""

from typing import Any

import pytest
import torch
from torch import Tensor, nn

import matrixhub as mh

DIMS = {"text": 4, "image": 6, "row": 3}
TWO = {"text": 4, "image": 6}


def fusion(name: str, dims: dict[str, int] = DIMS, **options: Any) -> Any:
    torch.manual_seed(0)
    return mh.create("fusion", name, dims=dims, **options).eval()


def features(dims: dict[str, int] = DIMS, rows: int = 5) -> dict[str, mh.Features]:
    seeded = torch.Generator().manual_seed(1)
    return {name: mh.Features(torch.randn(rows, dim, generator=seeded)) for name, dim in dims.items()}


@pytest.mark.parametrize("keep", [False, True])
def test_bilinear_is_the_sum_of_all_products_of_two(keep: bool) -> None:
    bilinear, given = fusion("bilinear", rank=8, keep=keep), features()
    a, b, c = bilinear.project(given)
    fused = bilinear(given).pooled_BD
    assert fused.shape == (5, bilinear.dim) == (5, 8 * (4 if keep else 1))
    torch.testing.assert_close(fused[:, :8], a * b + a * c + b * c)
    if keep:
        torch.testing.assert_close(fused[:, 8:], torch.cat([a, b, c], dim=1))


def test_a_linear_head_on_products_is_a_bilinear_form_of_that_rank() -> None:
    """Near zero, where tanh is linear, and without biases: x' M y with M of rank 2."""
    bilinear = fusion("bilinear", TWO, rank=2, keep=False)
    norm_x, _, line_x, _ = bilinear.project.layers[0]
    norm_y, _, line_y, _ = bilinear.project.layers[1]
    with torch.no_grad():
        for line in (line_x, line_y):
            line.weight *= 1e-2
            line.bias.zero_()
    given = features(TWO)
    x, y = norm_x(given["text"].pooled_BD), norm_y(given["image"].pooled_BD)
    form_DD = torch.einsum("rd,re->de", line_x.weight, line_y.weight)
    assert torch.linalg.matrix_rank(form_DD) == 2
    wanted = torch.einsum("bd,de,be->b", x, form_DD, y)
    torch.testing.assert_close(bilinear(given).pooled_BD.sum(1), wanted, rtol=1e-2, atol=1e-7)


def test_weighted_lies_between_its_inputs_and_can_choose_one() -> None:
    weighted, given = fusion("weighted", dim=7), features()
    assert weighted(given).pooled_BD.shape == (5, weighted.dim) == (5, 7)
    projected = torch.stack(weighted.project(given))
    assert (weighted(given).pooled_BD <= projected.amax(0) + 1e-6).all()
    assert (weighted(given).pooled_BD >= projected.amin(0) - 1e-6).all()
    with torch.no_grad():
        weighted.gate.bias.copy_(torch.tensor([0.0, 50.0, 0.0]))
    torch.testing.assert_close(weighted(given).pooled_BD, projected[1])


def test_shared_is_the_mean_of_the_inputs_that_a_row_has() -> None:
    shared, given = fusion("shared", dim=16), features()
    unit = [nn.functional.normalize(one, dim=-1) for one in shared.project(given)]
    present_B = torch.tensor([True, False, True, False, True])
    lacking = {**given, "image": mh.Features(given["image"].pooled_BD, present_B=present_B)}
    fused = shared(lacking).pooled_BD
    torch.testing.assert_close(fused.norm(dim=-1), torch.full((5,), 4.0))
    with_all, without = (nn.functional.normalize(sum(some), dim=-1) * 4 for some in (unit, unit[::2]))  # type: ignore[arg-type]
    torch.testing.assert_close(fused[::2], with_all[::2])
    torch.testing.assert_close(fused[1::2], without[1::2])


@pytest.mark.parametrize("name", ["bilinear", "weighted", "shared"])
def test_the_size_of_one_encoders_features_does_not_drown_the_others(name: str) -> None:
    module, given = fusion(name), features()
    larger = {**given, "image": mh.Features(given["image"].pooled_BD * 1000)}
    torch.testing.assert_close(module(given).pooled_BD, module(larger).pooled_BD, rtol=1e-3, atol=1e-3)


def exclusive_or(rows: int = 400) -> tuple[dict[str, mh.Features], Tensor]:
    """Two inputs that each say nothing of the label: whether their first numbers have one sign."""
    given = features(TWO, rows)
    signs = [given[name].pooled_BD[:, 0] - given[name].pooled_BD[:, 1:].mean(1) > 0 for name in TWO]
    return given, (signs[0] == signs[1]).float()


def learned(name: str, **options: Any) -> float:
    """Accuracy of a linear layer on the fused features, on rows held out."""
    given, labels = exclusive_or()
    module = fusion(name, TWO, **options).train()
    line = nn.Linear(module.dim, 1)
    optimizer = torch.optim.AdamW([*module.parameters(), *line.parameters()], lr=1e-2)
    for _ in range(150):
        logits = line(module(given).pooled_BD).squeeze(-1)
        loss = nn.functional.binary_cross_entropy_with_logits(logits[:300], labels[:300])
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
    answers = line(module.eval()(given).pooled_BD).squeeze(-1)[300:] > 0
    return float((answers == labels[300:].bool()).float().mean())


def test_products_tell_what_a_line_over_inputs_side_by_side_cannot() -> None:
    assert learned("core.concat") < 0.65
    assert learned("bilinear", rank=16, dropout=0.0, keep=False) > 0.9
    assert learned("bilinear", rank=16, dropout=0.0) > 0.9


def test_what_cannot_be_right_is_named() -> None:
    with pytest.raises(mh.ConfigError, match="joins several inputs; this product has 1"):
        fusion("bilinear", {"text": 4})
    with pytest.raises(mh.ConfigError, match="a width of 0"):
        fusion("weighted", dim=0)
    with pytest.raises(mh.ConfigError, match=r"dropout=1\.0"):
        fusion("bilinear", dropout=1.0)
