"""Low-rank matrices inside a frozen encoder (LoRA; Hu et al. 2022), put there by peft."""

from collections.abc import Mapping
from functools import partial
from typing import Any

from torch import Tensor, nn

from matrixhub.artifacts.weights import load_state
from matrixhub.errors import ConfigError, PluginError
from matrixhub.run.layers import own_copy

_BASE, _ADAPTER = ".base_layer.", ".lora_"
"""What peft puts into the names of weights."""

_LAST = "get_output_embeddings"
"""How transformers' models tell their last layer."""

_TURNED = "Conv1D"
"""A linear layer as GPT-2 has it, its weight the other way round."""


def adapted(encoder: Any, options: Mapping[str, Any]) -> Any:
    """A twin of a frozen encoder or generator with new matrices in it, which alone train; others are shared.

    Args:
        encoder: frozen.
        options: as in ``LoraConfig``.

    Raises:
        ConfigError: it has no modules of these names, or matrices cannot be put into them.
        PluginError: peft is not installed.
    """
    try:
        from peft import LoraConfig, inject_adapter_in_model
    except ImportError as error:
        raise PluginError("trainer.lora needs peft: pip install 'matrixhub[lora]'.") from error
    twin = own_copy(encoder, shared=[*encoder.parameters(), *encoder.buffers()])
    targets = _targets(encoder, options["targets"])
    config = LoraConfig(
        r=options["rank"],
        lora_alpha=options["alpha"],
        lora_dropout=options["dropout"],
        target_modules=targets,
        fan_in_fan_out=any(type(encoder.get_submodule(name)).__name__ == _TURNED for name in targets),
    )
    try:
        made = inject_adapter_in_model(config, twin)
    except ValueError as error:
        raise ConfigError(f"trainer.lora does not go with {type(encoder).__name__}: {error}") from error
    for name, parameter in made.named_parameters():
        if _ADAPTER in name:
            # Steps of training are lost in the few digits of what a frozen model may be kept in.
            parameter.data = parameter.data.float()
    for module in made.modules():
        if hasattr(module, "running_mean"):
            # Its statistics are the frozen encoder's, which others share: they stay as they are.
            module.eval()
            module.train = partial(_stay, module)  # type: ignore[method-assign]
    return made


def _stay(module: nn.Module, mode: bool = True) -> nn.Module:
    return module


def split_state(
    state: Mapping[str, Tensor], *, is_adapted: bool
) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """Weights of the encoder, under its own names, and those of the matrices, if it is adapted."""
    if not is_adapted:
        return dict(state), {}
    base = {name.replace(_BASE, "."): tensor for name, tensor in state.items() if _ADAPTER not in name}
    return base, {name: tensor for name, tensor in state.items() if _ADAPTER in name}


def load_adapter(encoder: nn.Module, tensors: Mapping[str, Tensor]) -> None:
    """Copy stored matrices into an adapted encoder.

    Raises:
        ArtifactError: they are not those of this encoder; names them.
    """
    own = {name: tensor for name, tensor in encoder.state_dict().items() if _ADAPTER not in name}
    load_state(encoder, {**own, **tensors})


def _is_linear(module: Any) -> bool:
    return isinstance(module, nn.Linear) or type(module).__name__ == _TURNED


def _targets(encoder: nn.Module, names: list[str] | None) -> list[str]:
    """Full names of the modules that get matrices."""
    # A layer that shares the weights of an embedding is that embedding.
    tied = {id(m.weight) for m in encoder.modules() if isinstance(m, nn.Embedding)}
    layers = {n: m for n, m in encoder.named_modules() if _is_linear(m) or isinstance(m, nn.Conv2d)}
    fit = {name: layer for name, layer in layers.items() if id(layer.weight) not in tied}
    if names is None:
        # The last layer of a language model is as wide as its vocabulary.
        last = {id(getattr(m, _LAST)()) for m in encoder.modules() if hasattr(m, _LAST)}
        found = [n for n, layer in fit.items() if _is_linear(layer) and id(layer) not in last]
    else:
        found = [name for name in fit if name.rpartition(".")[2] in names]
    if not found:
        known = ", ".join(sorted({name.rpartition(".")[2] for name in fit})) or "none"
        what = "linear layers" if names is None else f"layers named {', '.join(names)}"
        raise ConfigError(
            f"trainer.lora.targets: {type(encoder).__name__} has no {what}. Choose from: {known}."
        )
    return found
