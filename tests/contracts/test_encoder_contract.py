"""What ``matrixhub.Encoder`` promises, for every installed encoder (reliability row 26)."""

import copy
import dataclasses
import functools
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

import matrixhub as mh
from matrixhub.protocols import Encoder, Layered, SavesAssets
from matrixhub.registry import Component
from tests.contracts.tiny import ENCODERS, values, variants

VARIANTS = variants(mh.list_components("encoder"), ENCODERS)


def assert_close(actual: Tensor, expected: Tensor) -> None:
    """Equal within 1e-5 of the largest feature, or of 1 where all are smaller."""
    scale = max(1.0, expected.abs().max().item()) if expected.numel() else 1.0
    torch.testing.assert_close(actual, expected, atol=1e-5 * scale, rtol=0)


def assert_same(actual: mh.Features, expected: mh.Features, atol: float = 1e-6) -> None:
    """Features equal to 1e-6 of the largest, or of 1 where all are smaller; padding aside."""
    scale = max(1.0, expected.pooled_BD.abs().max().item())
    torch.testing.assert_close(actual.pooled_BD, expected.pooled_BD, atol=atol * scale, rtol=0)
    if actual.tokens_BTD is None or expected.tokens_BTD is None or expected.mask_BT is None:
        assert actual.tokens_BTD is expected.tokens_BTD is None
        return
    assert actual.mask_BT is not None and torch.equal(actual.mask_BT, expected.mask_BT)
    real = expected.mask_BT
    scale = max(1.0, expected.tokens_BTD[real].abs().max().item())
    torch.testing.assert_close(actual.tokens_BTD[real], expected.tokens_BTD[real], atol=atol * scale, rtol=0)


@dataclasses.dataclass
class Subject:
    """An encoder under test, what it was made from, and rows of its modality."""

    component: Component
    options: dict[str, Any]
    encoder: Any
    rows: list[Any]

    def build(self, **changes: Any) -> Any:
        return mh.create("encoder", self.component.name, **{**self.options, **changes}).eval()

    def features(self, *rows: Any, encoder: Any = None) -> mh.Features:
        """Of these rows in one batch."""
        encoder = encoder or self.encoder
        batch = encoder.processor.collate(encoder.processor.prepare(list(rows)))
        with torch.no_grad():
            features: mh.Features = encoder(batch)
        return features


@pytest.fixture(params=VARIANTS, ids=lambda v: f"{v[0].name} {v[1]}", scope="module")
def subject(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Subject:
    component, variant = request.param
    assert component.name in ENCODERS, f"give {component.name} a line in tests/contracts/tiny.py"
    options = ENCODERS[component.name][variant](tmp_path_factory.mktemp("tiny"))
    encoder = mh.create("encoder", component.name, **options).eval()
    return Subject(component, options, encoder, list(values(encoder.modality)))


def real(features: mh.Features, row: int) -> Tensor:
    """The token features of a row without its padding."""
    assert features.tokens_BTD is not None and features.mask_BT is not None
    return features.tokens_BTD[row][features.mask_BT[row]]


def test_it_has_the_shape_of_the_protocol(subject: Subject) -> None:
    encoder = subject.encoder
    assert isinstance(encoder, Encoder)
    assert isinstance(encoder, torch.nn.Module)
    assert encoder.modality in subject.component.consumes
    assert encoder.dim > 0
    assert encoder.budget > 0
    assert set(subject.component.produces) <= {"pooled", "tokens", "layers"}
    assert isinstance(encoder, Layered) or "layers" not in subject.component.produces


def test_features_have_the_declared_width_and_levels(subject: Subject) -> None:
    features = subject.features(*subject.rows)
    assert features.pooled_BD.shape == (len(subject.rows), subject.encoder.dim)
    assert features.pooled_BD.dtype == torch.float32
    assert features.pooled_BD.isfinite().all()
    if "tokens" not in subject.component.produces:
        return
    assert features.tokens_BTD is not None and features.mask_BT is not None
    assert features.mask_BT.dtype == torch.bool
    assert features.tokens_BTD.dtype == torch.float32
    assert features.tokens_BTD.shape[0] == len(subject.rows)
    assert features.tokens_BTD.shape[:2] == features.mask_BT.shape
    assert features.tokens_BTD[features.mask_BT].isfinite().all()


def test_alone_as_in_a_batch_and_padded_as_not(subject: Subject) -> None:
    together = subject.features(*subject.rows)
    for number, row in enumerate(subject.rows):
        alone = subject.features(row)
        assert_close(alone.pooled_BD[0], together.pooled_BD[number])
        if "tokens" in subject.component.produces:
            assert_close(real(alone, 0), real(together, number))


def test_the_order_of_a_batch_does_not_matter(subject: Subject) -> None:
    forwards, backwards = subject.features(*subject.rows), subject.features(*reversed(subject.rows))
    assert_close(forwards.pooled_BD, backwards.pooled_BD.flip(0))


def test_different_rows_differ(subject: Subject) -> None:
    pooled_BD = subject.features(*subject.rows[:2]).pooled_BD
    assert not torch.allclose(pooled_BD[0], pooled_BD[1], atol=1e-4)


def test_words_give_one_token_each(subject: Subject) -> None:
    if subject.encoder.modality != "text" or "tokens" not in subject.component.produces:
        return
    rows = [["a"], ["quiet", "words", ",", "好看"], ["film"] * 3]
    features = subject.features(*rows)
    assert features.mask_BT is not None
    assert features.mask_BT.sum(dim=1).tolist() == [1, 4, 3]


def test_encoding_twice_gives_the_same_bits(subject: Subject) -> None:
    first = subject.features(*subject.rows).pooled_BD
    torch.manual_seed(12345)
    assert torch.equal(first, subject.features(*subject.rows).pooled_BD)


def test_building_twice_gives_the_same_encoder(subject: Subject) -> None:
    torch.manual_seed(54321)
    again = subject.build()
    assert torch.equal(
        subject.features(*subject.rows).pooled_BD, subject.features(*subject.rows, encoder=again).pooled_BD
    )


def test_rows_and_batches_are_not_changed(subject: Subject) -> None:
    processor, before = subject.encoder.processor, copy.deepcopy(subject.rows)
    items = processor.prepare(subject.rows)
    kept_items = copy.deepcopy(items)
    batch = processor.collate(items)
    kept_batch = copy.deepcopy(batch)
    with torch.no_grad():
        subject.encoder(batch)
    assert subject.rows == before
    for name, tensor in batch.items():
        assert torch.equal(tensor, kept_batch[name]), name
    again = processor.collate(kept_items)
    assert all(torch.equal(tensor, again[name]) for name, tensor in batch.items())


def test_the_processor_prepares_each_row_by_itself(subject: Subject) -> None:
    processor = subject.encoder.processor
    together = processor.prepare(subject.rows)
    assert len(together) == len(subject.rows)
    for item, row in zip(together, subject.rows, strict=True):
        (alone,) = processor.prepare([row])
        assert processor.size(item) == processor.size(alone) >= 1
        one, two = processor.collate([item]), processor.collate([alone])
        assert all(torch.equal(one[name], two[name]) for name in one)


def test_every_tensor_of_a_batch_has_a_row_for_each_row(subject: Subject) -> None:
    processor = subject.encoder.processor
    batch = processor.collate(processor.prepare(subject.rows))
    assert {tensor.shape[0] for tensor in batch.values()} == {len(subject.rows)}
    if "truncated" in batch:
        assert batch["truncated"].dtype == torch.bool
        assert batch["truncated"].shape == (len(subject.rows),)


def test_a_value_that_is_none_of_its_modality_names_the_row(subject: Subject) -> None:
    with pytest.raises(mh.DataError) as raised:
        subject.encoder.processor.prepare([subject.rows[0], object()])
    assert raised.value.row == 1


def test_weights_survive_being_stored(subject: Subject, tmp_path: Path) -> None:
    trained = subject.build()
    with torch.no_grad():
        for parameter in trained.parameters():
            parameter.add_(0.05 * torch.randn_like(parameter))
    state = {name: tensor.clone() for name, tensor in trained.state_dict().items()}
    fields = {f.name for f in dataclasses.fields(subject.component.config)}
    stored: dict[str, Any] = {"checkpoint": str(tmp_path), "pretrained": False}
    if isinstance(trained, SavesAssets):
        trained.save_assets(tmp_path)
        assert not [
            p for p in tmp_path.rglob("*") if p.suffix in (".py", ".bin", ".safetensors", ".pt", ".pkl")
        ]
    again = subject.build(**{k: v for k, v in stored.items() if k in fields})
    again.load_state_dict(state)
    expected = subject.features(*subject.rows, encoder=trained).pooled_BD
    assert not torch.allclose(expected, subject.features(*subject.rows).pooled_BD, atol=1e-5)
    torch.testing.assert_close(
        subject.features(*subject.rows, encoder=again).pooled_BD, expected, atol=1e-6, rtol=0
    )


def test_it_can_be_trained(subject: Subject) -> None:
    encoder = subject.build().train()
    batch = encoder.processor.collate(encoder.processor.prepare(subject.rows))
    encoder(batch).pooled_BD.square().sum().backward()
    gradients = [p.grad for p in encoder.parameters() if p.grad is not None]
    assert gradients and all(gradient.isfinite().all() for gradient in gradients)
    assert any(gradient.abs().sum() > 0 for gradient in gradients)


def test_cut_anywhere_it_answers_as_whole(subject: Subject) -> None:
    if "layers" not in subject.component.produces:
        return
    encoder, expected = subject.encoder, subject.features(*subject.rows)
    assert encoder.num_layers > 1
    for num_trainable in range(1, encoder.num_layers + 1):
        prefix, suffix = encoder.split(num_trainable)
        assert isinstance(prefix, Encoder) and isinstance(prefix, torch.nn.Module)
        assert (prefix.modality, prefix.budget) == (encoder.modality, encoder.budget)
        halves = {id(p) for half in (prefix, suffix) for p in half.parameters()}
        assert halves == {id(p) for p in encoder.parameters()}
        assert not {id(p) for p in prefix.parameters()} & {id(p) for p in suffix.parameters()}
        hidden = subject.features(*subject.rows, encoder=prefix)
        assert hidden.tokens_BTD is not None and hidden.tokens_BTD.shape[2] == prefix.dim
        assert_same(suffix(hidden), expected)


def test_hidden_states_can_be_padded_anew(subject: Subject) -> None:
    if "layers" not in subject.component.produces:
        return
    prefix, suffix = subject.encoder.split(1)
    alone = [subject.features(row, encoder=prefix) for row in subject.rows]
    tokens, masks = ([getattr(one, name)[0] for one in alone] for name in ("tokens_BTD", "mask_BT"))
    pad = functools.partial(torch.nn.utils.rnn.pad_sequence, batch_first=True)
    hidden = mh.Features(torch.cat([one.pooled_BD for one in alone]), pad(tokens), pad(masks))
    assert_same(suffix(hidden), subject.features(*subject.rows), atol=1e-5)


def test_what_the_last_layers_learn_is_in_the_whole(subject: Subject) -> None:
    if "layers" not in subject.component.produces:
        return
    encoder = subject.build().requires_grad_(False)
    prefix, suffix = encoder.split(1)
    hidden = subject.features(*subject.rows, encoder=prefix)
    suffix.requires_grad_(True)
    suffix(hidden).pooled_BD.square().sum().backward()
    assert all(parameter.grad is None for parameter in prefix.parameters())
    with torch.no_grad():
        for parameter in suffix.parameters():
            parameter.add_(0.05 * torch.randn_like(parameter))
    assert not torch.allclose(
        subject.features(*subject.rows, encoder=encoder).pooled_BD, subject.features(*subject.rows).pooled_BD
    )
    assert_same(suffix(hidden), subject.features(*subject.rows, encoder=encoder))


def test_encode_gives_rows_back_in_order(subject: Subject) -> None:
    pooled_BD = subject.encoder.encode(subject.rows).pooled_BD
    assert_close(pooled_BD, subject.features(*subject.rows).pooled_BD)
