"""One sweep over every kind of product, trained once for all the tests here."""

from pathlib import Path

import pytest

import matrixhub as mh
from tests.toys import FAST, run_toy


@pytest.fixture(scope="session")
def trained(tmp_path_factory: pytest.TempPathFactory) -> mh.Run:
    """Every frozen product of ``tests.toys``, by one run of one plan."""
    folder = tmp_path_factory.mktemp("trained")
    products = "product=colour,topics,size,tagging,several,picture,fused"
    return run_toy(folder, products, *FAST, multirun=True)


@pytest.fixture(scope="session")
def pairs(tmp_path_factory: pytest.TempPathFactory) -> mh.Run:
    """Two inputs compared by a head, and two texts encoded as one."""
    folder = tmp_path_factory.mktemp("pairs")
    return run_toy(folder, "product=pair,crossed", "head=pair,mlp", *FAST, multirun=True, rows=1000)


@pytest.fixture(scope="session")
def tuned(tmp_path_factory: pytest.TempPathFactory) -> mh.Run:
    """Products whose encoders were trained too."""
    folder = tmp_path_factory.mktemp("tuned")
    options = ("trainer=finetune", "trainer.encoder_lr=0.03", *FAST)
    return run_toy(folder, "product=colour,tagging,fused,several", *options, multirun=True)


@pytest.fixture
def artifact(trained: mh.Run) -> Path:
    """The trained product that tells colours from texts."""
    (record,) = (r for r in trained.records if r["product"] == "colour")
    return Path(record["artifact"])
