"""Small products over the toy rows of the fixture plugin, one for each kind of task."""

import json
from pathlib import Path
from typing import Any

import matrixhub as mh

TEXT = {"column": "text", "modality": "text"}
OTHER = {"column": "other", "modality": "text"}
IMAGE = {"column": "image", "modality": "image"}
LABEL = {"task": "classification", "target": "label"}
SAME = {"task": "classification", "target": "same"}
SCORE = {"task": "regression", "target": "score"}
TOPICS = {"task": "multilabel", "target": "topics"}

PRODUCTS: dict[str, dict[str, Any]] = {
    "colour": {"inputs": {"text": TEXT}, "outputs": {"label": LABEL}},
    "topics": {"inputs": {"text": TEXT}, "outputs": {"topics": TOPICS}},
    "size": {"inputs": {"text": TEXT}, "outputs": {"score": SCORE}},
    "tagging": {
        "inputs": {"words": {"column": "words", "modality": "text"}},
        "outputs": {"tags": {"task": "token_classification", "target": "tags"}},
    },
    "pair": {"inputs": {"first": TEXT, "second": OTHER}, "outputs": {"same": SAME}},
    "crossed": {
        "inputs": {"both": {"column": ["text", "other"], "modality": "text"}},
        "outputs": {"same": SAME},
    },
    "several": {"inputs": {"text": TEXT}, "outputs": {"label": LABEL, "score": SCORE, "topics": TOPICS}},
    "picture": {"inputs": {"image": IMAGE}, "outputs": {"label": LABEL}},
    "fused": {"inputs": {"text": TEXT, "image": IMAGE}, "outputs": {"label": LABEL, "score": SCORE}},
    "broken": {"inputs": {"text": {"column": "txet", "modality": "text"}}, "outputs": {"label": LABEL}},
}

FAST = ("trainer.lr=0.03", "trainer.batch_size=32", "trainer.epochs=15", "trainer.schedule=linear")
"""Enough to learn the toy rows in a second."""


def write_products(folder: Path, rows: int = 300) -> Path:
    """A config folder with these products; their rows come already split."""
    (folder / "product").mkdir(parents=True)
    for name, product in PRODUCTS.items():
        config = {"defaults": [{"source": "fixture.toy"}, "_self_"], "name": name, **product}
        config["source"] = {"rows": rows, "given_split": True}
        (folder / "product" / f"{name}.yaml").write_text(json.dumps(config))
    return folder


def toy_options(folder: Path) -> list[str]:
    """Overrides that keep a run inside a folder and choose the fixture's encoders."""
    return [
        "encoder/text=hash",
        "encoder/image=fixture.mean_image",
        f"output_dir={folder}/runs",
        f"cache_dir={folder}/cache",
    ]


def run_toy(folder: Path, *overrides: str, rows: int = 300, multirun: bool = False) -> mh.Run:
    """Run products of this page in this process, without a word."""
    conf = folder / "conf"
    if not conf.exists():
        write_products(conf, rows)
    return mh.run([*toy_options(folder), *overrides], config_dir=conf, quiet=True, multirun=multirun)


def record_of(run: mh.Run, product: str, head: str = "linear") -> dict[str, Any]:
    """The one record of that product and head."""
    (found,) = (r for r in run.records if r["product"] == product and r["head"] == head)
    return found
