"""Encoders of transformers with weights and tokenizer, from a folder, a package or the hub."""

import inspect
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from transformers import CONFIG_MAPPING, MODEL_MAPPING, AutoConfig, AutoModel, AutoTokenizer
from transformers.utils import logging

from matrixhub import CheckpointError, ConfigError, checkpoint_errors, hub_offline, resolve_checkpoint
from matrixhub_text.plugin import TransformerConfig


def load(given: TransformerConfig) -> tuple[Any, Any]:
    """The model and its fast tokenizer.

    Raises:
        ConfigError: the checkpoint is not an encoder.
        CheckpointError: it is not there, not reachable, or not complete.
    """
    path = resolve_checkpoint(given.checkpoint, sha256=given.sha256)
    local = isinstance(path, Path)
    hub = {} if local else {"revision": given.revision, "local_files_only": hub_offline()}
    with checkpoint_errors(given.checkpoint), _quiet(local=local), _seeded():
        config = _config(given, path, hub)
        tokenizer = AutoTokenizer.from_pretrained(path, config=config, trust_remote_code=False, **hub)
        if not tokenizer.is_fast:
            raise CheckpointError(
                f"Checkpoint '{given.checkpoint}' has no tokenizer.json, nor what makes one."
            )
        return _model(given, path, config, hub), tokenizer


def _config(given: TransformerConfig, path: Path | str, hub: Mapping[str, Any]) -> Any:
    if given.model_type is not None:
        config = CONFIG_MAPPING[given.model_type].from_pretrained(path, **hub)
    else:
        config = AutoConfig.from_pretrained(path, trust_remote_code=False, **hub)
    if getattr(config, "is_encoder_decoder", False) or type(config) not in MODEL_MAPPING:
        raise ConfigError(
            f"'{given.checkpoint}' ({config.model_type}) is not a plain encoder; text.transformer takes"
            f" encoders such as BERT."
        )
    return config


def _model(given: TransformerConfig, path: Path | str, config: Any, hub: Mapping[str, Any]) -> Any:
    options: dict[str, Any] = {"dtype": getattr(torch, given.dtype), "attn_implementation": given.attention}
    # A pooler that nothing reads would be parameters without gradient.
    if "add_pooling_layer" in inspect.signature(MODEL_MAPPING[type(config)]).parameters:
        options["add_pooling_layer"] = False
    if not given.pretrained:
        return AutoModel.from_config(config, trust_remote_code=False, **options)
    model, found = AutoModel.from_pretrained(
        path, config=config, trust_remote_code=False, output_loading_info=True, **options, **hub
    )
    if missing := sorted(found["missing_keys"]):
        raise CheckpointError(
            f"Checkpoint '{given.checkpoint}' lacks {len(missing)} weights of a {config.model_type} encoder"
            f" ({', '.join(missing[:3])}{', ...' if len(missing) > 3 else ''}): damaged, or of another kind."
        )
    return model


@contextmanager
def _seeded() -> Iterator[None]:
    """Random weights that are the same every time, leaving the caller's random numbers alone."""
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(0)
        yield


@contextmanager
def _quiet(*, local: bool) -> Iterator[None]:
    """No load reports; progress bars only where something is downloaded and someone is looking."""
    verbosity, bars = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity_error()
    if bars and (local or not sys.stderr.isatty()):
        logging.disable_progress_bar()
    try:
        yield
    finally:
        logging.set_verbosity(verbosity)
        if bars:
            logging.enable_progress_bar()
