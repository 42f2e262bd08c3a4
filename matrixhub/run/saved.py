"""A trained product on disk: saved as an artifact, loaded from one."""

import dataclasses
import re
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
from matrixhub.run.writer import Writer, bridge_for
from matrixhub.types import Target

READOUT = "readout.safetensors"
ENCODER = "encoder.safetensors"
ADAPTER = "adapter.safetensors"

GENERATOR = "generator.safetensors"

WrittenModules = dict[str, tuple[Path, dict[str, str]]]
"""Folders of encoders and generators that an artifact holds, by content, with the sha256 of each file."""


def save_product(
    folder: Path,
    *,
    cell: Cell,
    model: ProductModel,
    targets: Mapping[str, Target],
    record: Mapping[str, Any],
    shared: WrittenModules,
) -> None:
    """Write a trained product as an artifact.

    Args:
        folder: must not exist.
        cell: what was trained.
        model: with all its encoders.
        targets: what each output learned.
        record: of the cell; its figures go into the manifest and the card.
        shared: encoders written before; frozen encoders are linked to these and new ones added.

    Raises:
        ArtifactError: it cannot be written.
    """
    learned = {
        "targets": {name: target.to_dict() for name, target in targets.items()},
        "dims": {name: model.encoders[m].dim for name, m in model.modalities.items()},
    }
    manifest = {**_manifest(cell), **learned, **facts(record)}
    written: WrittenModules = {}

    def write(staging: Path) -> dict[str, str]:
        known: dict[str, str] = {}
        save_weights(staging / READOUT, model.readout.state_dict())
        (staging / CARD).write_text(model_card(manifest), encoding="utf-8", errors="replace")
        for modality, encoder in model.encoders.items():
            place = Path("encoders", modality)
            state, adapter = split_state(encoder.state_dict(), is_adapted=cell.training == "lora")
            key = digest(cell.encoder[modality]) if cell.training in ("frozen", "lora") else ""
            digests = _put_module(encoder, state, staging / place / ENCODER, like=shared.get(key))
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


def save_generator(
    folder: Path, *, cell: Cell, writer: Writer, record: Mapping[str, Any], shared: WrittenModules
) -> None:
    """Write a product whose answers a generator writes. Parameters and errors as for ``save_product``.

    Args:
        writer: with all its encoders.
    """
    dims = {name: writer.encoders[m].dim for name, m in writer.modalities.items()}
    manifest = {**_manifest(cell), "dims": dims, **facts(record)}
    training = cell.training if cell.trainer else "frozen"
    parts: list[tuple[Path, str, Any, Any]] = [
        (Path("encoders", m, ENCODER), digest(cell.encoder[m]), one, one.state_dict())
        for m, one in writer.encoders.items()
    ]
    state, adapter = split_state(writer.generator.state_dict(), is_adapted=training == "lora")
    key = "" if training == "finetune" else digest(cell.generator)
    parts.append((Path("generator", GENERATOR), key, writer.generator, state))
    written: WrittenModules = {}

    def write(staging: Path) -> dict[str, str]:
        known: dict[str, str] = {}
        (staging / CARD).write_text(model_card(manifest), encoding="utf-8", errors="replace")
        for place, key, module, tensors in parts:
            digests = _put_module(module, tensors, staging / place, like=shared.get(key))
            written.update({key: (folder / place.parent, digests)} if key else {})
            known |= {(place.parent / name).as_posix(): sha256 for name, sha256 in digests.items()}
        if cell.fusion:
            save_weights(staging / READOUT, writer.readout.state_dict())
        if adapter:
            save_weights(staging / "generator" / ADAPTER, adapter)
        return known

    write_artifact(folder, manifest, write)
    for key, one in written.items():
        shared.setdefault(key, one)


def artifact_folder(run_folder: Path, cell: Cell) -> Path:
    """Where a cell's artifact is written."""
    plain = re.sub(r"[^\w.+-]+", "_", cell.name).lstrip(".")
    return run_folder / "artifacts" / f"{plain}-{cell.id[:6]}"


def facts(record: Mapping[str, Any]) -> dict[str, Any]:
    """What an artifact says of its record: figures, and no row."""
    keys = ("main", "metrics", "baselines", "num_rows", "parameters", "latency_ms")
    between = {name: output["interval"] for name, output in record["outputs"].items()}
    return {**{key: record[key] for key in keys}, "intervals": between}


def _manifest(cell: Cell) -> dict[str, Any]:
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
        "generator": cell.generator,
        "generate": cell.generate,
        "trainer": cell.trainer,
        "distributions": cell.distributions,
        "components": {o["name"]: _home(kind, o["name"]) for kind, o in cell.component_options()},
    }


def _home(kind: str, name: str) -> str:
    return hub().component(kind, name).distribution


def _put_module(
    module: Any, state: Mapping[str, Any], weights: Path, *, like: tuple[Path, dict[str, str]] | None
) -> dict[str, str]:
    """Write a module's weights and assets, or link to those that are there; the sha256 of each file."""
    folder = weights.parent
    if like:
        source, digests = like
        for name in digests:
            link_or_copy(source / name, folder / name)
        return digests
    folder.mkdir(parents=True)
    save_weights(weights, state)
    if isinstance(module, SavesAssets):
        module.save_assets(folder)
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
        if manifest.get("generator"):
            return Product(manifest, _load_writer(path, manifest, bases).to(device), path)
        inputs = manifest["product"]["inputs"]
        lora = _lora(manifest)
        encoders = {m: _load_encoder(path, m, manifest, bases, lora=lora) for m in manifest["encoder"]}
        readout = Readout(
            dims=manifest["dims"],
            fusion=manifest["fusion"],
            head=manifest["head"],
            targets={name: Target.from_dict(target) for name, target in manifest["targets"].items()},
            optional=[name for name, one in inputs.items() if one.get("optional")],
            balance=manifest["trainer"].get("balance", "fixed"),
        )
        modalities = {name: one["modality"] for name, one in inputs.items()}
        load_state(readout, load_weights(path / READOUT))
    except (KeyError, TypeError, AttributeError) as error:
        raise ArtifactError(f"{path}: its manifest does not fit the installed plugins ({error}).") from error
    model = ProductModel(encoders, modalities, readout).eval().requires_grad_(False)
    return Product(manifest, model.to(device), path)


def _load_writer(path: Path, manifest: Mapping[str, Any], bases: dict[str, Any]) -> Writer:
    """The generator of an artifact, with what makes its prefix."""
    inputs, options = manifest["product"]["inputs"], manifest["generator"]
    weights, fusion = Path("generator", GENERATOR), manifest["fusion"]
    generator = _load_adapted(
        "generator", options, path=path, weights=weights, manifest=manifest, bases=bases, lora=_lora(manifest)
    )
    dims = manifest.get("dims", {})
    bridge = bridge_for(generator, fusion, dims, product=manifest["product"], learns=False)
    if fusion:
        # An artifact of before 'spread' was saved takes that of its generator.
        load_state(bridge, {"spread": bridge.spread, **load_weights(path / READOUT)})
    encoders = {m: _load_encoder(path, m, manifest, bases, lora=None) for m in manifest["encoder"]}
    modalities = {name: inputs[name]["modality"] for name in dims}
    return Writer(generator, bridge, encoders, modalities).eval().requires_grad_(False)


def _lora(manifest: Mapping[str, Any]) -> dict[str, Any] | None:
    """Options of the matrices that were trained, where any were."""
    trainer: dict[str, Any] = manifest["trainer"]
    return trainer["lora"] if trainer and way_of_training(trainer) == "lora" else None


def best_device() -> str:
    """An accelerator where there is one, else the CPU."""
    accelerator = torch.accelerator.current_accelerator() if torch.accelerator.is_available() else None
    return accelerator.type if accelerator else "cpu"


def _require_components(manifest: Mapping[str, Any]) -> None:
    used = [("transform", options) for options in manifest.get("transform", [])]
    used += [("encoder", options) for options in manifest["encoder"].values()]
    used += [("fusion", manifest["fusion"])] if manifest["fusion"] else []
    used += [(kind, manifest[kind]) for kind in ("head", "generator") if manifest.get(kind)]
    for kind, options in used:
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


def _load_encoder(
    path: Path, modality: str, manifest: Mapping[str, Any], bases: dict[str, Any], *, lora: Any
) -> Any:
    options, weights = manifest["encoder"][modality], Path("encoders", modality, ENCODER)
    return _load_adapted(
        "encoder", options, path=path, weights=weights, manifest=manifest, bases=bases, lora=lora
    )


def _load_adapted(
    kind: str,
    options: Mapping[str, Any],
    *,
    path: Path,
    weights: Path,
    manifest: Mapping[str, Any],
    bases: dict[str, Any],
    lora: Mapping[str, Any] | None,
) -> Any:
    """An encoder or generator of an artifact, adapted where it was trained so."""
    files = _files(manifest, weights.parent)
    adapter = files.pop((weights.parent / ADAPTER).as_posix(), None)
    base = _load_module(kind, options, path / weights, files=files, bases=bases)
    if not lora:
        return base
    module = adapted(base, lora)
    load_adapter(module, load_weights(path / weights.parent / ADAPTER) if adapter else {})
    return module


def _files(manifest: Mapping[str, Any], place: Path) -> dict[str, Any]:
    return {name: one for name, one in manifest["files"].items() if Path(name).is_relative_to(place)}


def _load_module(
    kind: str, options: Mapping[str, Any], weights: Path, *, files: Mapping[str, Any], bases: dict[str, Any]
) -> Any:
    """An encoder or generator from its folder.

    Args:
        kind, options: of the component.
        weights: its file.
        files: those of its folder, as in the manifest.
        bases: modules that were loaded before, by options and content.
    """
    fields = {f.name for f in dataclasses.fields(hub().component(kind, options["name"]).config)}
    stored = {"checkpoint": str(weights.parent.resolve()), "pretrained": False, "sha256": None}
    named = {name: one["sha256"] for name, one in files.items()}
    key = digest([kind, {k: v for k, v in options.items() if k not in stored}, named])
    if key not in bases:
        module = build(kind, {**options, **{k: v for k, v in stored.items() if k in fields}})
        load_state(module, load_weights(weights))
        bases[key] = module.eval().requires_grad_(False)
    return bases[key]
