"""Rows through an encoder: order kept, rows named, batches equal to rows alone."""

import math
import threading
import time
from collections.abc import Iterator, Sequence
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

import matrixhub as mh
from matrixhub.errors import ConfigError, DataError
from matrixhub.run.create import encode
from matrixhub.run.encode import (
    ahead,
    encode_part,
    encode_rows,
    in_parallel,
    joined,
    prepare_rows,
    table_rows,
    takes_nulls,
)

CPU = torch.device("cpu")


def hash_text(**options: Any) -> Any:
    return mh.create("encoder", "fixture.hash_text", **{"dim": 8, **options}).eval()


def texts(count: int) -> list[str]:
    """Of every length from 1 to 9 words, mixed."""
    return [" ".join(f"w{i}x{j}" for j in range(1 + i * 7 % 9)) for i in range(count)]


def test_results_come_in_order_however_long_each_takes() -> None:
    def work(number: int) -> int:
        time.sleep(0.02 if number % 2 else 0)
        return number

    assert list(ahead(work, range(20))) == list(range(20))


def test_work_runs_ahead_of_its_reader_but_not_without_end() -> None:
    started: list[int] = []

    def work(number: int) -> int:
        started.append(number)
        return number

    results = ahead(work, range(100), depth=2)
    assert next(results) == 0
    time.sleep(0.1)
    assert len(started) <= 4
    assert list(results)[-1] == 99
    assert threading.active_count() < 20


@pytest.fixture
def two_threads() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(before)


@pytest.mark.usefixtures("two_threads")
def test_several_batches_run_at_a_time_in_the_modes_of_the_caller() -> None:
    together = threading.Barrier(2, timeout=10)

    def work(number: int) -> tuple[int, bool, torch.dtype, int]:
        together.wait()
        product = torch.ones(2, 2) @ torch.ones(2, 2)
        return number, torch.is_inference_mode_enabled(), product.dtype, torch.get_num_threads()

    with torch.autocast("cpu", torch.bfloat16):
        found = list(in_parallel(work, range(8), CPU))
    assert found == [(number, True, torch.bfloat16, 1) for number in range(8)]
    assert torch.get_num_threads() == 2
    (threads,) = ahead(lambda _: torch.get_num_threads(), [0])
    assert threads == 2


@pytest.mark.usefixtures("two_threads")
def test_rows_come_in_order_from_several_threads() -> None:
    encoder, values = hash_text(budget=24), texts(300)
    found = [position for one in encode_rows(encoder, values, device=CPU) for position in one.positions]
    assert sorted(found) == list(range(300))
    many, alone = encode(encoder, values), encode(encoder, values[170])
    torch.testing.assert_close(many.pooled_BD[170], alone.pooled_BD[0], atol=1e-6, rtol=0)


@pytest.mark.usefixtures("two_threads")
def test_an_error_of_one_of_several_threads_names_its_row() -> None:
    with pytest.raises(DataError) as raised:
        list(encode_rows(hash_text(budget=8), [*texts(90), None], device=CPU))
    assert raised.value.row == 90
    assert torch.get_num_threads() == 2


def test_an_error_of_a_thread_reaches_the_reader() -> None:
    def work(number: int) -> int:
        if number == 3:
            raise DataError("no good", row=number)
        return number

    with pytest.raises(DataError, match="row 4: no good"):
        list(ahead(work, range(10)))


def test_every_row_is_encoded_once_and_equals_itself_alone() -> None:
    """Reliability row 26."""
    encoder, values = hash_text(budget=24), texts(300)
    together = encode(encoder, values, level="tokens")
    assert together.pooled_BD.shape == (300, 8)
    assert together.tokens_BTD is not None and together.mask_BT is not None
    for row in (0, 1, 8, 150, 299):
        alone = encode(encoder, values[row], level="tokens")
        assert alone.tokens_BTD is not None
        words = alone.tokens_BTD.shape[1]
        assert int(together.mask_BT[row].sum()) == words
        assert float((together.pooled_BD[row] - alone.pooled_BD[0]).abs().max()) < 1e-5
        assert float((together.tokens_BTD[row, :words] - alone.tokens_BTD[0]).abs().max()) < 1e-5


def test_batches_keep_to_the_budget() -> None:
    encoder = hash_text(budget=24)
    seen: list[tuple[int, int]] = []
    encoder.register_forward_pre_hook(lambda module, args: seen.append(tuple(args[0]["ids_BT"].shape)))
    list(encode_rows(encoder, texts(200), device=CPU))
    assert all(rows * words <= 24 for rows, words in seen)
    assert sum(rows for rows, _ in seen) == 200
    padded = sum(rows * words for rows, words in seen)
    assert padded < 1.1 * sum(len(text.split()) for text in texts(200))


def test_no_rows_give_no_features() -> None:
    assert encode(hash_text(), []).pooled_BD.shape == (0, 8)


def test_a_module_is_left_in_the_mode_it_was_in() -> None:
    encoder = hash_text().train()
    encode(encoder, ["a"])
    assert encoder.training


@pytest.mark.parametrize("bad", [0, 70, 200])
def test_a_bad_value_is_named_by_its_row(bad: int) -> None:
    values: list[Any] = texts(201)
    values[bad] = 3.5
    with pytest.raises(DataError, match=rf"^row {bad + 1}: text is a string"):
        prepare_rows(hash_text().processor, values)
    with pytest.raises(DataError, match=rf"^row {bad + 1}:"):
        encode(hash_text(budget=1), values)
    # As rank 1 of 2 sees them: every other row of the table.
    rows = np.arange(1, 402, 2)
    with pytest.raises(DataError) as caught:
        encode_part(hash_text(budget=1), values, rows, level="pooled", device=CPU)
    assert caught.value.row == rows[bad]


def test_features_that_are_no_numbers_are_named_by_their_row() -> None:
    encoder = hash_text()
    word = encoder.processor.prepare(["poison"])[0][0]
    with torch.no_grad():
        encoder.table.weight[word] = math.nan
    with pytest.raises(DataError, match=r"row 3: the encoder's features of it are not finite"):
        encode(encoder, ["a", "b", "some poison", "c"])


@pytest.mark.parametrize("level", ["pooled", "tokens"])
def test_a_part_holds_the_rows_of_its_rank(level: str) -> None:
    encoder, values, rows = hash_text(budget=24, max_length=6), texts(40), np.arange(3, 83, 2)
    counts: list[int] = []
    part = encode_part(encoder, values, rows, level=level, device=CPU, on_rows=counts.append)
    assert sorted(part.rows) == list(rows)
    assert sum(counts) == 40
    assert part.data.shape == (part.lengths.sum(), 8)
    words = {int(row): min(len(text.split()), 6) for row, text in zip(rows, values, strict=True)}
    for row, length, cut in zip(part.rows, part.lengths, part.truncated, strict=True):
        assert length == (1 if level == "pooled" else words[row])
        assert cut == (len(values[(row - 3) // 2].split()) > 6)


def test_a_rank_without_rows_has_an_empty_part() -> None:
    part = encode_part(hash_text(), [], np.arange(0), level="pooled", device=CPU)
    assert part.data.shape == (0, 8)
    assert len(part.rows) == len(part.truncated) == 0


def test_token_features_that_are_not_there_are_missed() -> None:
    encoder = mh.create("encoder", "fixture.mean_image")
    pixels = [np.zeros((4, 4, 3), dtype=np.uint8)]
    with pytest.raises(DataError, match="no token features"):
        encode_part(encoder, pixels, np.arange(1), level="tokens", device=CPU)


def test_joined_pads_what_is_shorter() -> None:
    found = joined([torch.ones(1, 2, 3), torch.ones(2, 1, 3)], fill=-100)
    assert found.shape == (3, 2, 3)
    assert found[:, 1, 0].tolist() == [1, -100, -100]
    assert joined([torch.zeros(2), torch.ones(1)]).tolist() == [0, 0, 1]


def test_rows_of_a_part_are_named_as_those_of_the_table() -> None:
    def fail(row: int | None) -> None:
        raise DataError("bad", row=row, column="text")

    with pytest.raises(DataError, match="row 31, column 'text': bad"), table_rows([10, 20, 30]):
        fail(2)
    with pytest.raises(DataError, match=r"^column 'text': bad"), table_rows([10]):
        fail(None)


def test_create_gives_a_module_that_encodes_one_value_or_many() -> None:
    encoder = mh.create("encoder", "fixture.hash_text", dim=16)
    is_module = isinstance(encoder, torch.nn.Module)
    assert is_module
    one, many = encoder.encode("the red car"), encoder.encode(["a boat", "the red car"])
    assert one.pooled_BD.shape == (1, 16)
    assert torch.allclose(one.pooled_BD[0], many.pooled_BD[1], atol=1e-6)


def test_encode_gives_tokens_and_other_precisions_when_asked() -> None:
    encoder, values = mh.create("encoder", "fixture.hash_text", dim=8), texts(30)
    full = encoder.encode(values, level="tokens")
    assert encoder.encode(values).tokens_BTD is None
    assert full.tokens_BTD.shape == (30, 9, 8) and full.mask_BT.shape == (30, 9)
    half = encoder.encode(values, precision="bfloat16").pooled_BD
    assert half.dtype == torch.float32
    assert not torch.equal(half, full.pooled_BD)
    assert torch.allclose(half, full.pooled_BD, atol=0.05)
    assert torch.equal(encoder.encode(values, precision="auto").pooled_BD, full.pooled_BD)  # few rows
    with pytest.raises(ConfigError, match=r"'bfloat'.*Did you mean 'bfloat16'"):
        encoder.encode(values, precision="bfloat")
    with pytest.raises(ConfigError, match=r"level 'word'"):
        encoder.encode(values, level="word")


def test_create_takes_an_alias_and_refuses_what_it_does_not_know() -> None:
    assert mh.create("encoder", "hash_text").dim == 32
    with pytest.raises(ConfigError, match=r"'dimm'.*Did you mean 'dim'"):
        mh.create("encoder", "fixture.hash_text", dimm=3)
    with pytest.raises(ConfigError, match=r"'fixture\.hash_txt'.*Did you mean 'fixture\.hash_text'"):
        mh.create("encoder", "fixture.hash_txt")
    with pytest.raises(ConfigError, match=r"core\.table needs path=…"):
        mh.create("source", "core.table")


def test_create_says_what_a_head_must_be_given() -> None:
    target = mh.Target("classification", ("a", "b"))
    with pytest.raises(ConfigError, match=r"heads\.linear needs target=…"):
        mh.create("head", "heads.linear", dim=4)
    assert mh.create("head", "heads.linear", dim=4, target=target).metric == "accuracy"
    with pytest.raises(ConfigError, match=r"option of fixture\.hash_text 'target'"):
        mh.create("encoder", "fixture.hash_text", target=target)


class Slow:
    """A processor whose rows say which thread prepared them."""

    def prepare(self, values: Sequence[Any]) -> list[Any]:
        time.sleep(0.02)
        return [threading.get_ident() for _ in values]

    def size(self, item: Any) -> int:
        return 1

    def collate(self, items: Sequence[Any]) -> dict[str, torch.Tensor]:
        return {}


def test_only_a_processor_that_says_so_is_given_missing_values() -> None:
    encoder = mh.create("encoder", "fixture.hash_text")
    assert not takes_nulls(encoder)
    encoder.processor = SimpleNamespace(takes_nulls=True)
    assert takes_nulls(encoder)


def test_rows_are_prepared_in_threads() -> None:
    threads = set(prepare_rows(Slow(), list(range(512))))
    assert threading.get_ident() not in threads
    assert len(threads) > 1
