"""The search for a fast way to run an encoder: safe, remembered, and no slower than none."""

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

import matrixhub as mh
from matrixhub.errors import ConfigError, DataError
from matrixhub.run import probe
from matrixhub.run.encode import encode_part
from matrixhub.run.probe import search, setting_for
from matrixhub.run.sample import Sample
from matrixhub.run.setting import Setting, as_built

CPU = torch.device("cpu")
AUTO = {"precision": "auto", "probe": True}
Paces = Callable[[dict[str, float]], list[Setting]]


def hash_text() -> Any:
    return mh.create("encoder", "fixture.hash_text", dim=8, budget=64).eval()


def texts(count: int, word: str = "w") -> list[str]:
    return [" ".join(f"{word}{i}x{j}" for j in range(1 + i * 7 % 9)) for i in range(count)]


def sample(encoder: Any, values: list[Any]) -> Sample:
    return Sample(encoder, lambda rows: [values[i] for i in rows], num_rows=len(values), device=CPU)


def find(
    encoder: Any, values: list[Any], root: Path, *, missing: int | None = None, **options: Any
) -> Setting:
    return setting_for(
        encoder,
        lambda rows: [values[i] for i in rows],
        num_rows=len(values),
        num_missing=lambda precision: len(values) if missing is None else missing,
        key="k",
        device=CPU,
        root=root,
        options={**AUTO, **options},
    )


@pytest.fixture
def paces(monkeypatch: pytest.MonkeyPatch) -> Paces:
    """Seconds a row by precision, as a clock would tell; what was timed is noted."""

    def use(seconds: dict[str, float]) -> list[Setting]:
        timed: list[Setting] = []

        def pace(self: Sample, setting: Setting, *, than: float = math.inf) -> float:
            timed.append(setting)
            # The best batch is four times what the encoder comes with.
            return seconds.get(setting.precision, math.inf) * (1 + abs(math.log2(setting.budget / 256)) / 10)

        monkeypatch.setattr(Sample, "pace", pace)
        monkeypatch.setattr(Sample, "rough_pace", lambda self, setting: seconds[setting.precision])
        return timed

    return use


class Half(nn.Module):
    """Around an encoder: does something in half precision only."""

    def __init__(self, encoder: Any, change: Callable[[torch.Tensor], torch.Tensor]) -> None:
        super().__init__()
        self.inner, self.change = encoder, change
        self.processor, self.budget, self.dim = encoder.processor, encoder.budget, encoder.dim

    def forward(self, batch: Any) -> mh.Features:
        features: mh.Features = self.inner(batch)
        is_half = next(self.inner.parameters()).dtype == torch.bfloat16
        pooled_BD = self.change(features.pooled_BD.float()) if is_half else features.pooled_BD
        return mh.Features(pooled_BD.float(), features.tokens_BTD, features.mask_BT)


def fail(pooled_BD: torch.Tensor) -> torch.Tensor:
    raise RuntimeError("not implemented for 'BFloat16'")


def test_the_fastest_that_agrees_wins_with_its_best_batch(paces: Paces) -> None:
    paces({"float32": 1.0, "bfloat16": 0.5, "float16": 0.8})
    encoder = hash_text()
    one = sample(encoder, texts(100))
    built = as_built(encoder)
    assert search(one, built, precisions=["bfloat16", "float16"], pace=1.2, seconds=60) == Setting(
        "bfloat16", budget=256, channels_last=False
    )
    assert search(one, built, precisions=[], pace=1.2, seconds=60).precision == "float32"
    assert search(one, built, precisions=["bfloat16"], pace=1.2, seconds=-1) == built


def test_a_little_faster_is_not_worth_another_precision(paces: Paces) -> None:
    paces({"float32": 1.0, "bfloat16": 0.95})
    encoder = hash_text()
    found = search(
        sample(encoder, texts(100)), as_built(encoder), precisions=["bfloat16"], pace=1.2, seconds=60
    )
    assert found.precision == "float32"


@pytest.mark.parametrize(
    "change",
    [
        fail,
        lambda pooled_BD: pooled_BD.flip(1),
        lambda pooled_BD: pooled_BD * math.nan,
        lambda pooled_BD: torch.cat([pooled_BD[:-1], -pooled_BD[-1:]]),
    ],
    ids=["raises", "other features", "no numbers", "one bad row"],
)
def test_what_fails_or_strays_is_never_used(paces: Paces, change: Any) -> None:
    paces({"float32": 1.0, "bfloat16": 0.1})
    encoder = Half(hash_text(), change)
    one = sample(encoder, texts(100))
    assert not one.agrees(Setting("bfloat16", 64, False), as_built(encoder))
    assert (
        search(one, as_built(encoder), precisions=["bfloat16"], pace=1.0, seconds=60).precision == "float32"
    )


def test_rows_that_lie_close_together_need_more_than_a_cosine() -> None:
    encoder = hash_text()
    with torch.no_grad():
        encoder.table.weight.mul_(1e-3).add_(1)  # all alike but for what bfloat16 cannot hold
    assert not sample(encoder, texts(100)).agrees(Setting("bfloat16", 64, False), as_built(encoder))
    assert sample(hash_text(), texts(100)).agrees(Setting("bfloat16", 64, False), as_built(encoder))


def test_what_raises_has_no_pace_and_leaves_no_trace() -> None:
    encoder = Half(hash_text(), fail)
    one = sample(encoder, texts(100))
    assert one.pace(Setting("bfloat16", 64, False)) == math.inf
    assert 0 < one.pace(as_built(encoder)) < 1
    assert 0 < one.rough_pace(as_built(encoder)) < 1
    assert one.rough_pace(Setting("bfloat16", 64, False)) == math.inf
    assert next(encoder.parameters()).dtype == torch.float32


def test_the_search_is_made_once(paces: Paces, tmp_path: Path) -> None:
    timed = paces({"float32": 1.0, "bfloat16": 0.5})
    encoder, values = hash_text(), texts(100)
    found = find(encoder, values, tmp_path)
    assert found.precision == "bfloat16"
    times = len(timed)
    assert find(encoder, values, tmp_path) == found
    assert find(encoder, texts(200, "v"), tmp_path) == found  # other rows: checked, not timed
    assert len(timed) == times
    (file,) = (tmp_path / "settings").iterdir()
    assert list(json.loads(file.read_text())["samples"].values()) == [True, True]
    file.write_text('{"setting": {"preci')
    assert find(encoder, values, tmp_path) == found


def test_remembered_settings_are_checked_on_every_source(paces: Paces, tmp_path: Path) -> None:
    paces({"float32": 1.0, "bfloat16": 0.5})
    encoder = hash_text()
    assert find(encoder, texts(100), tmp_path).precision == "bfloat16"
    assert find(Half(encoder, fail), texts(100, "v"), tmp_path) == as_built(encoder)


def test_few_rows_are_encoded_as_built_now_and_later(paces: Paces, tmp_path: Path) -> None:
    timed = paces({"float32": 1e-4, "bfloat16": 0.5e-4})
    encoder = hash_text()
    assert find(encoder, texts(10), tmp_path) == as_built(encoder)
    assert not timed and not list(tmp_path.iterdir())
    assert find(encoder, texts(100), tmp_path) == as_built(encoder)  # 10 ms of work
    assert not timed
    paces({"float32": 1.0, "bfloat16": 0.5})
    assert find(encoder, texts(200, "v"), tmp_path).precision == "bfloat16"
    assert find(encoder, texts(100), tmp_path) == as_built(encoder)  # what is stored stays of use


def test_a_source_that_grows_goes_on_in_the_precision_it_has(paces: Paces, tmp_path: Path) -> None:
    timed, grown = paces({"float32": 1.0, "bfloat16": 0.4}), texts(200)
    assert find(hash_text(), grown, tmp_path, missing=20).precision == "float32"
    assert timed == []
    assert find(hash_text(), texts(200, "other"), tmp_path, missing=180).precision == "bfloat16"


def test_a_precision_can_be_asked_for(paces: Paces, tmp_path: Path) -> None:
    timed = paces({"float32": 1.0, "bfloat16": 2.0})
    encoder = hash_text()
    assert find(encoder, texts(100), tmp_path, precision="bfloat16") == Setting("bfloat16", 256, False)
    assert find(encoder, texts(100), tmp_path, precision="float32") == Setting("float32", 256, False)
    count = len(timed)
    assert find(encoder, texts(100), tmp_path, precision="float16", probe=False).budget == 64
    assert find(encoder, texts(100), tmp_path, probe=False) == as_built(encoder)
    assert len(timed) == count
    with pytest.raises(ConfigError, match=r"cannot run in bfloat16 \(RuntimeError.*encode.precision=auto"):
        find(Half(encoder, fail), texts(10), tmp_path, precision="bfloat16")


def test_a_bad_row_of_the_sample_is_named(paces: Paces, tmp_path: Path) -> None:
    paces({"float32": 1.0, "bfloat16": 0.5})
    values: list[Any] = texts(100)
    values[99] = 3.5
    with pytest.raises(DataError) as caught:
        find(hash_text(), values, tmp_path)
    assert caught.value.row == 99


def test_another_machine_or_encoder_searches_again(
    paces: Paces, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    paces({"float32": 1.0, "bfloat16": 0.5})
    find(hash_text(), texts(100), tmp_path)
    monkeypatch.setattr(probe, "_cpu_name", lambda: "another")
    find(hash_text(), texts(100), tmp_path)
    assert len(list((tmp_path / "settings").iterdir())) == 2


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_a_part_is_encoded_as_the_setting_says(precision: str) -> None:
    encoder, values = hash_text(), texts(100)
    seen: list[tuple[int, int, torch.dtype]] = []
    encoder.register_forward_pre_hook(
        lambda module, args: seen.append((*args[0]["ids_BT"].shape, module.table.weight.dtype))
    )
    setting = Setting(precision, budget=200, channels_last=False)
    part = encode_part(encoder, values, np.arange(100), level="pooled", device=CPU, setting=setting)
    assert {dtype for _, _, dtype in seen} == {getattr(torch, precision)}
    assert 100 < max(rows * words for rows, words, _ in seen) <= 200
    full = encode_part(encoder, values, np.arange(100), level="pooled", device=CPU)
    order, wanted = np.argsort(part.rows), full.data[np.argsort(full.rows)]
    assert part.data.dtype == np.float32
    np.testing.assert_allclose(part.data[order], wanted, atol=1e-6 if precision == "float32" else 0.05)
