"""A trained product on disk: saved as an artifact, loaded from one."""

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from matrixhub import __version__
from matrixhub.artifacts.card import CARD, model_card
from matrixhub.artifacts.folder import link_or_copy, read_manifest, sha256_of, write_artifact
from matrixhub.artifacts.weights import load_state, load_weights, save_weights
from matrixhub.errors import ArtifactError, MatrixHubError, PluginError
from matrixhub.plan import Cell
from matrixhub.plan.cell import digest, way_of_training
from matrixhub.plugins import hub
from matrixhub.protocols import SavesAssets
from matrixhub.run.lora import adapted, load_adapter, split_state
from matrixhub.run.model import ProductModel, Readout, build
from matrixhub.run.product import Product
from matrixhub.types import Target

READOUT = "readout.safetensors"
ENCODER = "encoder.safetensors"
ADAPTER = "adapter.safetensors"

WrittenEncoders = dict[str, tuple[Path, dict[str, str]]]
"""Folders of encoders that an artifact holds, by what is in them, with the sha256 of each file below."""


def save_product(
    folder: Path,
    *,
    cell: Cell,
    model: ProductModel,
    targets: Mapping[str, Target],
    facts: Mapping[str, Any],
    shared: WrittenEncoders,
) -> None:
    """Write a trained product as an artifact.

    Args:
        folder: must not exist.
        cell: what was trained.
        model: with all its encoders.
        targets: what each output learned.
        facts: metrics, baselines and the like, for the manifest and the card.
        shared: encoders written before; frozen encoders are linked to these and new ones added.

    Raises:
        ArtifactError: it cannot be written.
    """
    manifest = {**_manifest(cell, model, targets), **facts}
    written: WrittenEncoders = {}

    def write(staging: Path) -> dict[str, str]:
        known: dict[str, str] = {}
        save_weights(staging / READOUT, model.readout.state_dict())
        (staging / CARD).write_text(model_card(manifest), encoding="utf-8", errors="replace")
        for modality, encoder in model.encoders.items():
            place = Path("encoders", modality)
            state, adapter = split_state(encoder.state_dict(), is_adapted=cell.training == "lora")
            key = digest(cell.encoder[modality]) if cell.training in ("frozen", "lora") else ""
            digests = _put_encoder(encoder, state, staging / place, like=shared.get(key))
            if key:
                written[key] = folder / place, digests
            if adapter:
                save_weights(staging / place / ADAPTER, adapter)
            known |= {(place / name).as_posix(): sha256 for name, sha256 in digests.items()}
        return known

    write_artifact(folder, manifest, write)
    # Only now are they there for later artifacts to link to.
    for key, one in written.items():
        shared.setdefault(key, one)


def _manifest(cell: Cell, model: ProductModel, targets: Mapping[str, Target]) -> dict[str, Any]:
    """What an artifact says of how it was made."""
    return {
        "matrixhub": __version__,
        "name": cell.name,
        "cell": cell.id,
        "product": cell.product,
        "source": cell.source["name"],
        "transform": cell.transform,
        "fingerprint": next((state["rows"] for state in cell.state.values() if "rows" in state), None),
        "encoder": cell.encoder,
        "fusion": cell.fusion,
        "head": cell.head,
        "trainer": cell.trainer,
        "distributions": cell.distributions,
        "components": {o["name"]: _home(kind, o["name"]) for kind, o in cell.component_options()},
        "targets": {name: target.to_dict() for name, target in targets.items()},
        "dims": {name: model.encoders[m].dim for name, m in model.modalities.items()},
    }


def _home(kind: str, name: str) -> str:
    return hub().component(kind, name).distribution


def _put_encoder(
    encoder: Any, state: Mapping[str, Any], folder: Path, *, like: tuple[Path, dict[str, str]] | None
) -> dict[str, str]:
    """Write an encoder, or link to one that is there; the sha256 of each file."""
    if like:
        source, digests = like
        for name in digests:
            link_or_copy(source / name, folder / name)
        return digests
    folder.mkdir(parents=True)
    save_weights(folder / ENCODER, state)
    if isinstance(encoder, SavesAssets):
        encoder.save_assets(folder)
    return _digests(folder)


def _digests(folder: Path) -> dict[str, str]:
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): sha256_of(path) for path in files}


def load_product(folder: str | Path, *, device: str | None = None) -> Product:
    """Load a trained product from its artifact; everything in it is verified first.

    Args:
        folder: the artifact.
        device: such as ``"cuda:0"``; None takes an accelerator where there is one.

    Raises:
        ArtifactError: it is damaged, or does not fit the installed plugins.
        UnsafeArtifactError: it holds something that could run code.
        PluginError: a plugin it needs is missing; says which to install.
    """
    return load_products([folder], device=device)[0]


def load_products(folders: Sequence[str | Path], *, device: str | None = None) -> list[Product]:
    """Load several; encoders that are equal in every byte and option are in memory once.

    Args:
        folders: the artifacts.
        device: as for ``load_product``.

    Raises:
        ArtifactError, UnsafeArtifactError, PluginError: as ``load_product``.
    """
    bases: dict[str, Any] = {}
    return [_load(Path(folder), device or best_device(), bases) for folder in folders]


def _load(path: Path, device: str, bases: dict[str, Any]) -> Product:
    manifest = read_manifest(path)
    try:
        _require_components(manifest)
        encoders = {m: _load_encoder(path, m, manifest, bases) for m in manifest["encoder"]}
        readout = Readout(
            dims=manifest["dims"],
            fusion=manifest["fusion"],
            head=manifest["head"],
            targets={name: Target.from_dict(target) for name, target in manifest["targets"].items()},
        )
        modalities = {name: one["modality"] for name, one in manifest["product"]["inputs"].items()}
        load_state(readout, load_weights(path / READOUT))
    except (KeyError, TypeError, AttributeError) as error:
        raise ArtifactError(f"{path}: its manifest does not fit the installed plugins ({error}).") from error
    model = ProductModel(encoders, modalities, readout).eval().requires_grad_(False)
    return Product(manifest, model.to(device), path)


def best_device() -> str:
    """An accelerator where there is one, else the CPU."""
    accelerator = torch.accelerator.current_accelerator() if torch.accelerator.is_available() else None
    return accelerator.type if accelerator else "cpu"


def _require_components(manifest: Mapping[str, Any]) -> None:
    used = [("transform", options) for options in manifest.get("transform", [])]
    used += [("encoder", options) for options in manifest["encoder"].values()]
    used += [("fusion", manifest["fusion"])] if manifest["fusion"] else []
    for kind, options in [*used, ("head", manifest["head"])]:
        name = options["name"]
        try:
            hub().component(kind, name)
        except MatrixHubError as error:
            home = manifest["components"].get(name, name.partition(".")[0])
            version = manifest["distributions"].get(home, "")
            raise PluginError(
                f"This artifact needs the {kind} '{name}' of {home} {version}: "
                f"pip install '{home}'. ({error})"
            ) from error


def _load_encoder(path: Path, modality: str, manifest: Mapping[str, Any], bases: dict[str, Any]) -> Any:
    """An encoder of an artifact; ``bases`` are those loaded before, by options and content."""
    options, place = manifest["encoder"][modality], Path("encoders", modality)
    fields = {f.name for f in dataclasses.fields(hub().component("encoder", options["name"]).config)}
    stored = {"checkpoint": str((path / place).resolve()), "pretrained": False, "sha256": None}
    named = {
        name: one["sha256"] for name, one in manifest["files"].items() if Path(name).is_relative_to(place)
    }
    adapter = named.pop((place / ADAPTER).as_posix(), None)
    key = digest([{k: v for k, v in options.items() if k not in stored}, named])
    if key not in bases:
        encoder = build("encoder", {**options, **{k: v for k, v in stored.items() if k in fields}})
        load_state(encoder, load_weights(path / place / ENCODER))
        bases[key] = encoder.eval().requires_grad_(False)
    if way_of_training(manifest["trainer"]) != "lora":
        return bases[key]
    encoder = adapted(bases[key], manifest["trainer"]["lora"])
    load_adapter(encoder, load_weights(path / place / ADAPTER) if adapter else {})
    return encoder
