"""Rows that lack an input: what stands there, what is encoded, and that gradients go where they should."""

from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import torch
from torch import nn

from matrixhub.data.columns import present_rows, require_inputs, values
from matrixhub.errors import DataError
from matrixhub.plugins import hub
from matrixhub.run.feed import FeatureFeed, RowFeed
from matrixhub.run.model import PRESENT, ProductModel, Readout, spread
from matrixhub.types import UNTYPED_FIELD, Features
from tests.unit.run import tiny

CPU = torch.device("cpu")
FLAGS = np.array([True, False, True, False])


def readout() -> Readout:
    torch.manual_seed(0)
    return Readout(
        dims={"x": tiny.DIM, "z": tiny.DIM},
        fusion={"name": "core.concat"},
        head={"name": "heads.linear", "label_smoothing": 0.0},
        targets={"y": tiny.CLASSES},
        optional=["z"],
    )


def test_a_learned_vector_stands_in_for_what_a_row_lacks() -> None:
    made = readout()
    given = {name: torch.randn(4, tiny.DIM) for name in ("x", "z")}
    present_B = torch.tensor(FLAGS)
    features = {"x": Features(given["x"]), "z": Features(given["z"], present_B=present_B)}
    other = {**features, "z": Features(given["z"] + 100 * ~present_B[:, None], present_B=present_B)}
    outputs, _ = made(features)
    torch.testing.assert_close(outputs["y"], made(other)[0]["y"])
    stood_in = given["z"].clone()
    stood_in[~present_B] = made.absent[0].detach()
    whole = {"x": features["x"], "z": Features(stood_in)}
    torch.testing.assert_close(outputs["y"], made(whole)[0]["y"])
    outputs["y"].square().sum().backward()
    gradient = made.absent[0].grad
    assert gradient is not None and gradient.abs().sum() > 0


def test_its_tokens_are_one_token_of_that_vector() -> None:
    seen: dict[str, Features] = {}

    class Keep(nn.Module):
        def forward(self, features: dict[str, Features]) -> Features:
            seen.update(features)
            return Features(torch.cat([one.pooled_BD for one in features.values()], dim=1))

    made = readout()
    made.fusion = Keep()
    tokens_BTD, mask_BT = torch.randn(4, 3, tiny.DIM), torch.ones(4, 3, dtype=torch.bool)
    features = Features(torch.randn(4, tiny.DIM), tokens_BTD, mask_BT, torch.tensor(FLAGS))
    made({"x": Features(torch.randn(4, tiny.DIM)), "z": features})
    found = seen["z"]
    assert found.mask_BT is not None and found.tokens_BTD is not None
    assert found.mask_BT.sum(dim=1).tolist() == [3, 1, 3, 1]
    torch.testing.assert_close(found.tokens_BTD[1, 0], made.absent[0].detach())
    torch.testing.assert_close(found.tokens_BTD[0], tokens_BTD[0])


def test_it_begins_as_the_mean_of_what_the_others_have() -> None:
    made, pooled_BD = readout(), torch.randn(4, tiny.DIM)
    features = {"x": Features(pooled_BD), "z": Features(pooled_BD, present_B=torch.tensor(FLAGS))}
    made.standardize(features)
    torch.testing.assert_close(made.absent[0].detach(), pooled_BD[[0, 2]].mean(dim=0))


def test_stored_features_are_spread_over_all_rows() -> None:
    stored = tiny.features(2).spread(FLAGS)
    found = FeatureFeed({"z": stored}, CPU).features("z", np.array([3, 2, 0]))
    assert found.present_B is not None
    assert found.present_B.tolist() == [False, True, True]
    np.testing.assert_array_equal(found.pooled_BD[1:].numpy(), tiny.features(2).data[[1, 0]])
    assert torch.isfinite(found.pooled_BD).all()


def feed_and_model() -> tuple[RowFeed, ProductModel]:
    component = hub().component("encoder", "fixture.hash_text")
    encoder = component.factory()(dim=tiny.DIM, buckets=128, max_length=8, budget=512, seed=0)
    columns: dict[str, Any] = {"x": ["a b", "c", "d", "e f g"], "z": ["one", None, "two three", None]}
    feed = RowFeed(columns, {"x": encoder, "z": encoder}, CPU, present={"z": FLAGS})
    return feed, ProductModel({"text": encoder}, {"x": "text", "z": "text"}, readout())


def test_only_rows_that_have_an_input_are_encoded() -> None:
    feed, model = feed_and_model()
    ((_, inputs),) = feed.inputs([np.array([1, 2, 0])])
    batch = inputs["z"]
    assert isinstance(batch, dict)
    assert (len(batch["ids_BT"]), batch[PRESENT].tolist()) == (2, [False, True, True])
    together, _ = model(inputs)
    for place, row in enumerate([1, 2, 0]):
        ((_, alone),) = feed.inputs([np.array([row])])
        torch.testing.assert_close(model(alone)[0]["y"][0], together["y"][place])
    assert feed.lengths(np.arange(4)).tolist() == [3, 2, 3, 4]  # type: ignore[union-attr]


def test_a_batch_in_which_no_row_has_an_input_still_runs_its_encoder() -> None:
    """Or ranks would wait for the gradients of one that has no such row."""
    feed, model = feed_and_model()
    ((_, inputs),) = feed.inputs([np.array([1, 3])])
    model(inputs)[0]["y"].sum().backward()
    gradients = {name: p.grad for name, p in model.named_parameters() if p.requires_grad}
    assert all(gradient is not None for gradient in gradients.values())


def test_rows_that_lack_an_input_show_those_of_another() -> None:
    features = Features(torch.tensor([[1.0], [2.0]]), torch.ones(2, 1, 1), torch.ones(2, 1, dtype=torch.bool))
    found = spread(features, torch.tensor([False, True, True, False]))
    assert found.pooled_BD.flatten().tolist() == [1, 1, 2, 2]
    assert found.tokens_BTD is not None and found.tokens_BTD.shape == (4, 1, 1)


def test_what_a_row_lacks_is_null_in_all_columns_or_empty_in_a_csv() -> None:
    untyped = pa.field("a", pa.string(), metadata=UNTYPED_FIELD)
    table = pa.table({"a": ["x", " ", ""], "b": [None, "y", None]}, pa.schema([untyped, ("b", pa.string())]))
    both = {"column": ["a", "b"], "optional": True}
    assert present_rows(table, {"column": "a"}) is None
    assert present_rows(table, {**both, "column": "a"}).tolist() == [True, False, False]  # type: ignore[union-attr]
    assert present_rows(table, both).tolist() == [True, True, False]  # type: ignore[union-attr]
    with pytest.raises(DataError, match="row 3: it has no value for any input"):
        require_inputs(table, {"p": both})
    require_inputs(table, {"p": both, "q": {"column": "b"}})


def test_a_value_of_several_columns_is_whole_or_not_there() -> None:
    table = pa.table({"a": ["x", None, "z"], "b": ["y", None, None]})
    present = present_rows(table, {"column": ["a", "b"], "optional": True})
    with pytest.raises(DataError, match="row 3, column 'b': the value is missing"):
        values(table, ["a", "b"], present=present)
