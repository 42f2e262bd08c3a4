"""What the two encoders give, and that a row's features are its own."""

import math
from typing import Any

import numpy as np
import pytest
import torch
from matrixhub_tabular.baseline import plain_columns
from matrixhub_tabular.periodic import RunningScale

import matrixhub as mh

ROWS = [(3, "Rome"), (None, "Paris"), (-2.5, None), (1e6, "Rome")]
SMALL = {"columns": 3, "buckets": 50}


def encoder(name: str, **options: Any) -> Any:
    return mh.create("encoder", f"tabular.{name}", **SMALL | options).eval()


def test_fixed_features_are_numbers_logs_flags_and_buckets() -> None:
    fixed = encoder("fixed")
    found_BD = fixed.encode(ROWS).pooled_BD
    assert found_BD.shape == (4, fixed.dim) == (4, 3 * 3 + 50)
    assert found_BD[:, 0].tolist() == [3, 0, -2.5, 1e6]
    assert found_BD[2, 3].item() == pytest.approx(-math.log(3.5))
    assert found_BD[:, 6:9].tolist() == [[0, 0, 0], [1, 0, 0], [0, 1, 0], [0, 0, 0]]
    buckets = found_BD[:, 9:]
    assert buckets.sum(1).tolist() == [1, 1, 0, 1]
    assert torch.equal(buckets[0], buckets[3]) and not torch.equal(buckets[0], buckets[1])
    logs_alone = encoder("fixed", raw=False)
    assert torch.equal(logs_alone.encode(ROWS).pooled_BD, found_BD[:, 3:])
    assert logs_alone.dim == fixed.dim - 3


@pytest.mark.parametrize("name", ["fixed", "periodic"])
def test_a_row_is_encoded_alike_alone_and_among_others(name: str) -> None:
    module = encoder(name)
    among = module.encode(ROWS).pooled_BD
    alone = torch.cat([module.encode([row]).pooled_BD for row in ROWS])
    torch.testing.assert_close(among, alone)
    assert not torch.equal(among[0], among[1])


def test_a_running_scale_knows_mean_and_spread_of_all_rows_that_have_a_number() -> None:
    numbers = torch.randn(60, 2, generator=torch.Generator().manual_seed(0)) * 50 + 1000
    is_number = torch.rand(60, 2, generator=torch.Generator().manual_seed(1)) < 0.8
    numbers *= is_number
    scale = RunningScale(2)
    for part in (slice(0, 1), slice(1, 7), slice(7, 60)):
        scale(numbers[part], is_number[part])
    scaled = scale.eval()(numbers, is_number)
    for column in range(2):
        given = is_number[:, column]
        wanted = numbers[given, column].double().numpy()
        standard = (wanted - wanted.mean()) / wanted.std()
        np.testing.assert_allclose(scaled[given, column].numpy(), standard, atol=1e-3)
        assert scaled[~given, column].abs().sum() == 0
    assert scale.count_C.tolist() == is_number.sum(0).tolist(), "rows that are answered teach it nothing"


def test_periodic_weights_follow_from_the_seed_alone_and_every_one_learns() -> None:
    one, other = encoder("periodic"), encoder("periodic")
    assert all(torch.equal(a, b) for a, b in zip(one.parameters(), other.parameters(), strict=True))
    assert not torch.equal(one.table.weight, encoder("periodic", seed=1).table.weight)
    one.train()
    batch = one.processor.collate(one.processor.prepare([*ROWS, (1, 2, 3), (None, None, None)]))
    one(batch).pooled_BD.square().sum().backward()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in one.parameters())


def test_periodic_tells_what_no_line_can() -> None:
    torch.manual_seed(0)
    numbers = np.random.default_rng(0).uniform(0, 5000, 400)
    wanted = torch.tensor(np.sin(numbers / 400), dtype=torch.float32)
    module = encoder("periodic", dropout=0.0).train()
    line = torch.nn.Linear(module.dim, 1)
    batch = module.processor.collate(module.processor.prepare(list(numbers)))
    optimizer = torch.optim.Adam([*module.parameters(), *line.parameters()], lr=1e-2)
    for _ in range(150):
        loss = (line(module(batch).pooled_BD).squeeze(-1) - wanted).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert loss.item() < 0.05
    assert wanted.var() > 0.3


def test_plain_columns_fill_in_the_mean_and_know_the_training_categories() -> None:
    processor = encoder("fixed").processor
    train, test = plain_columns(ROWS, [(None, "Oslo"), (7, "Rome")], processor=processor)
    width = 3 + 3 + 2  # numbers, flags, Rome and Paris
    assert train.shape == (4, width) and test.shape == (2, width)
    mean = np.float32((3 - 2.5 + 1e6) / 3)
    assert train[1, 0] == test[0, 0] == mean
    assert test[:, 6:].sum(1).tolist() == [0, 1]


def test_an_option_that_cannot_be_right_is_named() -> None:
    with pytest.raises(mh.ConfigError, match="sigma above 0"):
        encoder("periodic", sigma=0.0)
