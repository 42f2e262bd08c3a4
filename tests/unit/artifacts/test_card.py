"""The card of an artifact: read by a hub's own parser, beside hostile names, without a row."""

from typing import Any

import pytest
from huggingface_hub import ModelCard

from matrixhub.artifacts.card import MOST_CLASSES, model_card

HOSTILE = "`x` | <script>alert(1)</script>\n---\nlicense: mit"


def manifest(**changes: Any) -> dict[str, Any]:
    given = {
        "matrixhub": "0.1.0", "name": "news-minilm-linear", "source": "core.table", "fingerprint": "ab12",
        "product": {
            "name": "news", "inputs": {"text": {"column": "body", "modality": "text"}},
            "outputs": {"topic": {"task": "classification", "target": "topic"}},
        },
        "encoder": {"text": {"name": "text.transformer"}}, "head": {"name": "heads.linear"},
        "trainer": {"train_encoder": False}, "distributions": {"matrixhub-text": "0.1.0"},
        "targets": {"topic": {"classes": ["sport", "政治"]}},
        "main": {"topic": {"metric": "accuracy", "higher_is_better": True}},
        "metrics": {"topic": {"accuracy": 0.9, "macro_f1": None}}, "intervals": {"topic": [0.88, 0.92]},
        "baselines": {"topic": {"majority class": {"accuracy": 0.5}, "TF-IDF": {"accuracy": 0.8}}},
        "num_rows": {"train": 800, "validation": 100, "test": 1100},
    }  # fmt: skip
    return {**given, **changes}


def header(text: str) -> Any:
    return ModelCard(text).data


def test_a_hub_reads_its_scores() -> None:
    data = header(model_card(manifest()))
    (result,) = data.eval_results
    assert (result.metric_type, result.metric_value, result.task_type) == (
        "accuracy",
        0.9,
        "text-classification",
    )
    assert data.library_name == "matrixhub" and data.pipeline_tag == "text-classification"
    assert data.license is None


def test_it_tells_scores_baselines_rows_and_how_to_load() -> None:
    text = model_card(manifest())
    assert "| `topic` | accuracy | 0.9000 | 0.880 to 0.920 | 0.8000 (TF-IDF) |" in text
    for part in ("1,100 rows", "800 to train on", "`ab12`", "`core.table`", "`政治`", 'mh.load("FOLDER")',
                 "pip install matrixhub-text==0.1.0", "License\n\nUnknown"):  # fmt: skip
        assert part in text


def test_without_interval_or_baseline_nothing_is_claimed() -> None:
    text = model_card(manifest(intervals={"topic": None}, baselines={"topic": {}}))
    assert "| `topic` | accuracy | 0.9000 | - | - |" in text


def test_a_score_that_is_none_is_left_out_of_the_header() -> None:
    assert not header(model_card(manifest(metrics={"topic": {"accuracy": None}}))).eval_results


@pytest.mark.parametrize("place", ["name", "class", "product"])
def test_names_out_of_data_stay_names(place: str) -> None:
    made = manifest()
    if place == "name":
        made["name"] = HOSTILE
    elif place == "class":
        made["targets"]["topic"]["classes"] = [HOSTILE]
    else:
        made["product"]["name"] = HOSTILE
    text = model_card(made)
    data = header(text)
    assert data.license is None and data.library_name == "matrixhub"
    body = text.split("\n---\n\n", 1)[1]
    assert "\n---\n" not in body
    assert "`'x' / <script>alert(1)</script> --- license: mit`" in body


def test_many_classes_are_counted() -> None:
    names = [f"class {i}" for i in range(MOST_CLASSES + 5)]
    assert "and 5 more." in model_card(manifest(targets={"topic": {"classes": names}}))


def test_several_inputs_are_given_by_name() -> None:
    made = manifest()
    made["product"]["inputs"]["photo"] = {"column": "path", "modality": "image"}
    assert "product([{'text': ..., 'photo': ...}])" in model_card(made)
