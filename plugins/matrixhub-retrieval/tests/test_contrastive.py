"""The loss and the metrics of what is found, against cases worked out by hand."""

import math
from typing import Any

import pytest
import torch
from matrixhub_retrieval.contrastive import Contrastive
from matrixhub_retrieval.ranking import ranking
from matrixhub_retrieval.towers import Towers
from torch import Tensor

from matrixhub import ConfigError, Features, Target


def head(dim: int = 4, temperature: float = 1.0) -> Contrastive:
    return Contrastive(dim=dim, target=Target("retrieval"), temperature=temperature)


def own(num_rows: int) -> Tensor:
    """Targets of rows of which no two belong together."""
    return torch.arange(num_rows)[:, None].expand(-1, 2)


def test_the_loss_is_the_mean_over_both_ways() -> None:
    outputs = torch.tensor([[1.0, 0, 1, 0], [0.0, 1, 1, 0]])
    # Similarities, first by second: [[1, 1], [0, 0]].
    forward = [math.log(2), math.log(2)]
    back = [math.log(math.e + 1) - 1, math.log(math.e + 1) - 0]
    assert float(head().loss(outputs, own(2))) == pytest.approx(sum(forward + back) / 4)


def test_what_belongs_together_is_no_negative() -> None:
    outputs = torch.tensor([[1.0, 0, 1, 0], [1.0, 0, 1, 0], [0.0, 1, 0, 1]])
    same_document = torch.tensor([[0, 7], [1, 7], [2, 2]])
    one = math.log(2 * math.e + 1) - math.log(2 * math.e)
    alone = math.log(math.e + 2) - 1
    assert float(head().loss(outputs, same_document)) == pytest.approx((2 * one + alone) / 3)
    assert head().loss(outputs, same_document) < head().loss(outputs, own(3))


def test_outputs_are_unit_vectors_times_the_root_of_the_scale() -> None:
    made = head(temperature=0.25)
    outputs = made(Features(torch.tensor([[3.0, 4, 0, 2]])))
    assert outputs.tolist() == [pytest.approx([1.2, 1.6, 0, 2])]
    assert made.decode(outputs)[0].value == pytest.approx(0.8)


def test_the_scale_is_learned_and_bounded() -> None:
    made = head(temperature=0.01)
    with torch.no_grad():
        made.log_scale.add_(3)
    outputs = made(Features(torch.tensor([[1.0, 0, 1, 0]])))
    assert outputs.max().item() == pytest.approx(10)
    outputs.sum().backward()
    assert made.log_scale.grad is not None and made.log_scale.grad > 0
    made = head()
    made.loss(made(Features(torch.randn(8, 4))), own(8)).backward()  # type: ignore[no-untyped-call]
    assert made.log_scale.grad is not None and made.log_scale.grad != 0


def test_a_split_larger_than_a_block_has_the_loss_of_the_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    outputs, targets = torch.randn(50, 8), torch.arange(50)[:, None].expand(-1, 2) // 2
    whole, metrics = head(8).loss(outputs, targets), head(8).metrics(outputs, targets)
    monkeypatch.setattr("matrixhub_retrieval.ranking.ROWS_AT_ONCE", 7)
    assert float(head(8).loss(outputs, targets)) == pytest.approx(float(whole))
    assert head(8).metrics(outputs, targets) == pytest.approx(metrics)


def test_metrics_of_three_queries() -> None:
    query = torch.eye(3)
    found = torch.tensor([[0.9, 0.5, 0.1], [0.8, 0.6, 0.7], [0.1, 0.2, 0.3]])
    # Query 1 looks for .9 among .9 .8 .1, query 2 for .6 among .5 .6 .2, query 3 for .3 among .1 .7 .3.
    scores = ranking(query, found, own(3))
    assert scores["recall_at_1"] == pytest.approx(2 / 3)
    assert scores["recall_at_5"] == scores["recall_at_10"] == 1
    assert scores["mrr"] == pytest.approx((1 + 1 + 1 / 2) / 3)
    assert scores["ndcg_at_10"] == pytest.approx((1 + 1 + 1 / math.log2(3)) / 3)


def test_all_right_ones_count_in_ndcg_and_the_first_in_recall() -> None:
    query, found = torch.ones(4, 1), torch.tensor([[4.0], [3.0], [2.0], [1.0]])
    targets = torch.tensor([[0, 0], [1, 1], [0, 0], [2, 2]])
    scores = ranking(query, found, targets)
    # Places of the right ones: rows 0 and 2 have 1 and 3, row 1 has 2, row 3 has 4.
    twice = (1 + 1 / math.log2(4)) / (1 + 1 / math.log2(3))
    assert scores["ndcg_at_10"] == pytest.approx((2 * twice + 1 / math.log2(3) + 1 / math.log2(5)) / 4)
    assert scores["recall_at_1"] == 0.5


def test_one_vector_for_all_finds_nothing() -> None:
    scores = ranking(torch.ones(30, 2), torch.ones(30, 2), own(30))
    assert scores["recall_at_10"] == scores["ndcg_at_10"] == 0
    assert scores["mrr"] == pytest.approx(1 / 30)


def test_both_ways_are_scored() -> None:
    outputs = torch.tensor([[1.0, 0, 1, 0], [0.0, 1, 1, 0]])
    metrics = head().metrics(outputs, own(2))
    assert (metrics["recall_at_1"], metrics["back_recall_at_1"]) == (0, 0.5)
    assert set(metrics) == {
        f"{way}{name}" for way in ("", "back_") for name in ranking(outputs, outputs, own(2))
    }


OPTIONS: dict[str, Any] = {"dim": 3, "hidden": 5, "dropout": 0.0, "shared": False}


def test_each_side_of_the_space_is_made_of_its_own_input() -> None:
    towers = Towers(dims={"text": 4, "image": 6}, **OPTIONS).eval()
    text, image = Features(torch.randn(2, 4)), Features(torch.randn(2, 6))
    both = towers({"image": image, "text": text}).pooled_BD
    other = towers({"text": text, "image": Features(torch.zeros(2, 6))}).pooled_BD
    assert both.shape == (2, towers.dim) == (2, 6)
    assert torch.equal(both[:, :3], other[:, :3]) and not torch.equal(both[:, 3:], other[:, 3:])


def test_shared_towers_bring_equal_inputs_to_one_place() -> None:
    towers = Towers(dims={"one": 4, "two": 4}, **{**OPTIONS, "shared": True, "hidden": 0})
    same = Features(torch.randn(2, 4))
    first, second = towers({"one": same, "two": same}).pooled_BD.chunk(2, dim=-1)
    assert torch.equal(first, second)


@pytest.mark.parametrize("hidden", [0, 5])
def test_residual_towers_compare_features_as_they_come_until_they_learn(hidden: int) -> None:
    torch.manual_seed(0)
    options = {**OPTIONS, "residual": True, "hidden": hidden}
    towers, made = Towers(dims={"one": 4, "two": 4}, **options), head(8)
    features = {"one": Features(torch.randn(6, 4)), "two": Features(10 * torch.randn(6, 4))}
    both = towers(features).pooled_BD
    assert towers.dim == both.shape[1] == 8
    plain = torch.nn.functional.cosine_similarity(features["one"].pooled_BD, features["two"].pooled_BD)
    found = torch.nn.functional.cosine_similarity(both[:, :4], both[:, 4:])
    assert found.tolist() == pytest.approx(plain.tolist(), abs=1e-5)
    optimizer = torch.optim.Adam(towers.parameters(), lr=0.03)
    losses = []
    for _ in range(100):
        optimizer.zero_grad()
        loss = made.loss(made(towers(features)), own(6))
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        losses.append(float(loss.detach()))
    assert losses[-1] < 0.7 * losses[0]


@pytest.mark.parametrize(
    ("dims", "options", "message"),
    [
        ({"one": 4}, {}, "two inputs; this product has 1"),
        ({"one": 4, "two": 6}, {"residual": True}, "fusion.residual=true, but features are 4 and 6 wide"),
        ({"one": 4, "two": 6}, {"shared": True}, "4 and 6 wide"),
        ({"one": 4, "two": 4}, {"dropout": 1.0}, "dropout=1.0"),
    ],
)
def test_towers_that_cannot_be_are_refused(dims: dict[str, int], options: Any, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        Towers(dims=dims, **{**OPTIONS, **options})


def test_a_head_that_cannot_be_is_refused() -> None:
    with pytest.raises(ConfigError, match="choose fusion=towers"):
        head(dim=5)
    with pytest.raises(ConfigError, match=r"temperature=0.001: must be 0.01 or more"):
        head(temperature=0.001)
