"""Images a second from files on disk, fp32: ours beside timm's documented loop at batch 32."""

import numpy as np
import timm
import torch
from measure import arguments, in_turn, ratio, report
from PIL import Image

import matrixhub as mh

MODELS = {
    "EfficientNet-Lite0": "tf_efficientnet_lite0",
    "ResNet-18 (seeded random weights)": "resnet18",
    "ViT-Tiny (seeded random weights)": "vit_tiny_patch16_224",
}


def main() -> None:
    args = arguments(__doc__ or "", rows=256, rounds=3)
    paths = mh.create("source", "demo.textile", limit=args.rows).read()["image"].to_pylist()
    rows: list[dict[str, object]] = []
    for label, name in MODELS.items():
        ours = mh.create("encoder", "vision.timm", model=name, pretrained=False)
        peer = timm.create_model(name, num_classes=0, pretrained=False).eval()
        peer.load_state_dict(ours.model.state_dict())
        transform = timm.data.create_transform(**timm.data.resolve_model_data_config(peer), is_training=False)
        got: dict[str, np.ndarray] = {}

        def encode_ours(ours: torch.nn.Module = ours, got: dict[str, np.ndarray] = got) -> None:
            got["ours"] = ours.encode(paths).pooled_BD.numpy()

        def encode_peer(
            peer: torch.nn.Module = peer, transform: object = transform, got: dict[str, np.ndarray] = got
        ) -> None:
            with torch.inference_mode():
                parts = []
                for start in range(0, len(paths), 32):
                    images = [transform(Image.open(p).convert("RGB")) for p in paths[start : start + 32]]
                    parts.append(peer(torch.stack(images)))
                got["peer"] = torch.cat(parts).numpy()

        seconds = in_turn({"matrixhub": encode_ours, "timm loop": encode_peer}, rounds=args.rounds)
        difference = float(np.abs(got["ours"] - got["peer"]).max())
        rows.append(
            {
                "model": label,
                "matrixhub img/s": len(paths) / float(np.median(seconds["matrixhub"])),
                "timm loop img/s": len(paths) / float(np.median(seconds["timm loop"])),
                "ratio": ratio(seconds, "timm loop", "matrixhub"),
                "largest difference": difference,
            }
        )
    report(f"encode_image, {len(paths):,} textile photographs", rows, args.json)


if __name__ == "__main__":
    main()
