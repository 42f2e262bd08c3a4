"""The model card of an artifact: ``README.md`` in the Hugging Face format, from what its manifest says.

It quotes no row. Names that come from data stand in code spans, where nothing is markup.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from matrixhub.plan.cell import way_of_training

CARD = "README.md"

MOST_CLASSES = 40

TASKS = {
    ("text", "classification"): "text-classification",
    ("image", "classification"): "image-classification",
    ("text", "multilabel"): "text-classification",
    ("image", "multilabel"): "image-classification",
    ("text", "token_classification"): "token-classification",
    ("text", "generation"): "text-generation",
}
"""Hugging Face's names of tasks, by modality and our name."""


KEPT = {
    "frozen": "frozen",
    "partial": "last layers trained too",
    "lora": "frozen, with trained low-rank matrices",
    "finetune": "trained too",
}
"""What became of the encoders, or of the generator, by their way of training."""


def model_card(manifest: Mapping[str, Any]) -> str:
    """The card: what it does, how to load it, its scores beside baselines, its training data, its limits.

    Args:
        manifest: as ``save_product`` writes it, with ``metrics``, ``main``, ``baselines``, ``intervals``
            and ``num_rows`` of the record.
    """
    inputs, outputs = manifest["product"]["inputs"], manifest["product"]["outputs"]
    reads = ", ".join(f"{_code(_columns(one['column']))} ({one['modality']})" for one in inputs.values())
    answers = ", ".join(f"{_code(name)} ({one['task'].replace('_', ' ')})" for name, one in outputs.items())
    made = "Trained" if manifest.get("trainer") or not manifest.get("generator") else "Composed"
    body = [
        f"# {_code(manifest['name'])}",
        f"Reads {reads} and answers {answers}. {made} with MatrixHub {manifest['matrixhub']}.",
        "## Use",
        f"```bash\n{_install(manifest)}\nmatrixhub predict FOLDER rows.csv\n```",
        f'```python\nimport matrixhub as mh\n\nproduct = mh.load("FOLDER")\n{_call(inputs)}\n```',
        "## Scores",
        "\n".join(_scores(manifest)),
        _rows(manifest),
        "## Training",
        "\n".join(_training(manifest)),
        "## Limits",
        "\n".join(_limits(manifest)),
        "## License",
        "Unknown: that of the encoder's weights and of the training data apply. Nobody has said more.",
    ]
    return f"---\n{_header(manifest)}\n---\n\n" + "\n\n".join(body) + "\n"


def _header(manifest: Mapping[str, Any]) -> str:
    """The YAML that a hub reads."""
    from huggingface_hub import EvalResult, ModelCardData

    modality = next(iter(manifest["product"]["inputs"].values()))["modality"]
    several = len(manifest["product"]["inputs"]) > 1
    results, tasks = [], []
    for name, output in manifest["product"]["outputs"].items():
        task = TASKS.get((modality, output["task"])) if not several else None
        tasks.append(task)
        results += [
            EvalResult(
                task_type=task or output["task"].replace("_", "-"),
                dataset_type=manifest["source"],
                dataset_name=f"{manifest['product']['name']}, output {name}",
                dataset_split="test",
                metric_type=metric,
                metric_value=value,
            )
            for metric, value in manifest["metrics"][name].items()
            if value is not None
        ]
    data = ModelCardData(
        library_name="matrixhub",
        pipeline_tag=tasks[0],
        tags=["matrixhub", *sorted({one["modality"] for one in manifest["product"]["inputs"].values()})],
        model_name=manifest["name"],
        eval_results=results or None,
    )
    return str(data.to_yaml())


def _install(manifest: Mapping[str, Any]) -> str:
    packages = [f"{name}=={version}" for name, version in sorted(manifest["distributions"].items())]
    return f"pip install {' '.join(packages)}"


def _call(inputs: Mapping[str, Any]) -> str:
    """How the loaded product is called."""
    if len(inputs) == 1:
        return 'product(["one row", "another row"])'
    return f"product([{{{', '.join(f'{name!r}: ...' for name in inputs)}}}])"


def _scores(manifest: Mapping[str, Any]) -> Iterator[str]:
    """A table: the main metric of each output, its interval, the best baseline beside it."""
    yield "| output | metric | score | 95% interval | best simple baseline |"
    yield "|---|---|---|---|---|"
    for name, main in manifest["main"].items():
        metric, between = main["metric"], manifest["intervals"].get(name)
        score = manifest["metrics"][name].get(metric)
        shown = "-" if between is None else f"{between[0]:.3f} to {between[1]:.3f}"
        rival = _best_baseline(manifest["baselines"].get(name, {}), metric, higher=main["higher_is_better"])
        yield f"| {_code(name)} | {metric} | {_figure(score)} | {shown} | {rival} |"


def _best_baseline(found: Mapping[str, Mapping[str, Any]], metric: str, *, higher: bool) -> str:
    scores = {name: one[metric] for name, one in found.items() if one.get(metric) is not None}
    if not scores:
        return "-"
    best = (max if higher else min)(scores, key=lambda name: scores[name])
    return f"{_figure(scores[best])} ({best})"


def _figure(score: float | None) -> str:
    return "-" if score is None else f"{score:.4f}"


def _rows(manifest: Mapping[str, Any]) -> str:
    rows = manifest["num_rows"]
    seen = "" if not rows["train"] else " that neither training nor the choice of the epoch has seen"
    return f"Measured on {rows['test']:,} rows{seen}."


def _training(manifest: Mapping[str, Any]) -> Iterator[str]:
    yield f"- Source: {_code(manifest['source'])}, product {_code(manifest['product']['name'])}."
    if through := manifest.get("transform"):
        yield f"- Rows went through: {_list([one['name'] for one in through])}."
    if manifest.get("fingerprint"):
        yield f"- Fingerprint of the rows: {_code(manifest['fingerprint'])}."
    if generator := manifest.get("generator"):
        yield f"- {_taught(manifest)}{_code(generator['name'])} writes the answers."
        for name, output in manifest["product"]["outputs"].items():
            yield f"- Prompt of {_code(name)}: {_code(output['prompt'] or 'the input itself')}."
        return
    rows, trainer = manifest["num_rows"], manifest["trainer"]
    kept = KEPT[way_of_training(trainer)]
    encoders = ", ".join(f"{_code(one['name'])} of {m}" for m, one in manifest["encoder"].items())
    yield f"- Rows: {rows['train']:,} to train on, {rows['validation']:,} to choose the epoch by."
    yield f"- Encoders ({kept}): {encoders}. Head: {_code(manifest['head']['name'])}."
    for name, target in manifest["targets"].items():
        if classes := target["classes"]:
            more = f" and {len(classes) - MOST_CLASSES} more" if len(classes) > MOST_CLASSES else ""
            yield f"- Classes of {_code(name)}: {_list(classes[:MOST_CLASSES])}{more}."


def _taught(manifest: Mapping[str, Any]) -> str:
    """What was trained where a generator writes."""
    rows, trainer = manifest["num_rows"], manifest["trainer"]
    if not trainer:
        return "Nothing was trained: "
    prefix = ""
    if fusion := manifest["fusion"]:
        encoders = ", ".join(f"{_code(one['name'])} of {m}" for m, one in manifest["encoder"].items())
        prefix = f" Features ({encoders}) were mapped to its prefix by {_code(fusion['name'])}."
    return (
        f"Rows: {rows['train']:,} to train on, {rows['validation']:,} to choose the epoch by. "
        f"Generator: {KEPT[way_of_training(trainer)]}.{prefix} "
    )


def _limits(manifest: Mapping[str, Any]) -> Iterator[str]:
    if manifest.get("generator"):
        yield "- What it writes may be wrong, made up or offensive, and sounds sure of itself all the same."
        yield "- Nobody has examined it for bias, or for what its weights reveal of people."
        return
    yield "- It knows what its training rows showed; on rows of another kind its scores may be far lower."
    if any(target["classes"] for target in manifest["targets"].values()):
        yield "- It always answers with the classes above, also where none of them fits."
        yield "- Its confidence was not calibrated."
    yield "- Nobody has examined it for bias, or for what its training rows reveal of people."


def _list(names: Sequence[str]) -> str:
    return ", ".join(map(_code, names))


def _columns(column: Any) -> str:
    return column if isinstance(column, str) else ", ".join(map(str, column))


def _code(text: str) -> str:
    """A name as a code span, which may stand in a table."""
    plain = " ".join(str(text).replace("`", "'").replace("|", "/").split())
    return f"`{plain or ' '}`"
