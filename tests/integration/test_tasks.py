"""Every kind of task learns the toy rows, frozen and fine-tuned."""

from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

import matrixhub as mh
from tests.toys import FAST, record_of, run_toy

# product, output, its main metric, the least it must reach
FROZEN = [
    ("colour", "label", "accuracy", 0.95),
    ("topics", "topics", "micro_f1", 0.95),
    ("size", "score", "r2", 0.7),
    ("tagging", "tags", "entity_f1", 0.9),
    ("several", "label", "accuracy", 0.95),
    ("several", "score", "r2", 0.7),
    ("several", "topics", "micro_f1", 0.95),
    ("picture", "label", "accuracy", 0.95),
    ("fused", "label", "accuracy", 0.95),
    ("fused", "score", "r2", 0.7),
]
WITHOUT_MODEL = ("majority class", "majority labels", "mean", "majority tag")


def check(record: dict[str, Any], output: str, metric: str, least: float) -> None:
    assert record["status"] == "done", record
    assert record["main"][output]["metric"] == metric
    score = record["metrics"][output][metric]
    assert score >= least
    (guess,) = (m for name, m in record["baselines"][output].items() if name in WITHOUT_MODEL)
    assert score > guess[metric] + 0.2


@pytest.mark.parametrize(("product", "output", "metric", "least"), FROZEN)
def test_a_frozen_encoder_and_a_head(
    trained: mh.Run, product: str, output: str, metric: str, least: float
) -> None:
    check(record_of(trained, product), output, metric, least)


@pytest.mark.parametrize(("product", "head"), [("pair", "pair"), ("pair", "mlp"), ("crossed", "mlp")])
def test_sentence_pairs(pairs: mh.Run, product: str, head: str) -> None:
    check(record_of(pairs, product, head), "same", "accuracy", 0.9)


@pytest.mark.parametrize(
    ("product", "output", "metric", "least"),
    [
        ("colour", "label", "accuracy", 0.95),
        ("tagging", "tags", "entity_f1", 0.8),
        ("fused", "label", "accuracy", 0.95),
        ("fused", "score", "r2", 0.8),
        ("several", "topics", "micro_f1", 0.9),
    ],
)
def test_full_fine_tuning(tuned: mh.Run, product: str, output: str, metric: str, least: float) -> None:
    check(record_of(tuned, product), output, metric, least)


def test_fine_tuning_learns_what_a_frozen_encoder_hides(tmp_path: Path) -> None:
    """Two numbers a word: a head alone cannot tell the colours, an encoder that learns can."""
    narrow = ("product=colour", "encoder.text.dim=2", *FAST, "trainer.lr=0.1", "trainer.epochs=25")
    frozen = run_toy(tmp_path, *narrow)
    tuned = run_toy(tmp_path, *narrow, "trainer=finetune", "trainer.encoder_lr=0.1")
    scores = [record_of(run, "colour")["metrics"]["label"]["accuracy"] for run in (frozen, tuned)]
    assert scores[1] > scores[0] + 0.1
    assert scores[1] > 0.9


def stored_encoder(run: mh.Run, product: str, modality: str) -> dict[str, torch.Tensor]:
    folder = Path(record_of(run, product)["artifact"])
    return load_file(folder / "encoders" / modality / "encoder.safetensors")


def fresh_encoder(modality: str) -> dict[str, torch.Tensor]:
    options = {"dim": 64, "buckets": 4096} if modality == "text" else {}
    name = {"text": "fixture.hash_text", "image": "fixture.mean_image"}[modality]
    state: dict[str, torch.Tensor] = mh.create("encoder", name, **options).state_dict()
    return state


@pytest.mark.parametrize("modality", ["text", "image"])
def test_a_frozen_encoder_keeps_every_bit(trained: mh.Run, modality: str) -> None:
    before, after = fresh_encoder(modality), stored_encoder(trained, "fused", modality)
    assert before.keys() == after.keys()
    assert all(torch.equal(before[name], after[name]) for name in before)


@pytest.mark.parametrize("modality", ["text", "image"])
def test_fine_tuning_changes_each_encoder(tuned: mh.Run, modality: str) -> None:
    before, after = fresh_encoder(modality), stored_encoder(tuned, "fused", modality)
    assert all(float((before[name] - after[name]).abs().max()) > 1e-3 for name in before)


def test_the_same_seed_gives_the_same_product(tmp_path: Path) -> None:
    weights = []
    for seed in (0, 0, 1):
        run = run_toy(tmp_path, "product=colour", "head=mlp", f"trainer.seed={seed}", *FAST)
        weights.append(load_file(Path(run.records[0]["artifact"]) / "readout.safetensors"))
    assert all(torch.equal(weights[0][name], weights[1][name]) for name in weights[0])
    assert any(not torch.equal(weights[0][name], weights[2][name]) for name in weights[0])


def test_bf16_and_then_full_precision_in_one_process(tmp_path: Path) -> None:
    for precision in ("bf16", "no"):
        run = run_toy(tmp_path, "product=colour", f"launch.mixed_precision={precision}", *FAST)
        assert record_of(run, "colour")["metrics"]["label"]["accuracy"] > 0.9
