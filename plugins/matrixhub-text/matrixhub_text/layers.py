"""A model of transformers cut in two: its first layers, and its last ones fed with hidden states.

Both halves are skeletons of the model, with the same forward pass, that share its parameters.
Shape suffixes: B rows, T tokens, D feature width.
"""

import copy
from typing import Any

from torch import Tensor, nn

from matrixhub import ConfigError

STACKS = ("encoder", "transformer")
"""Names of the module that holds the layers, in BERT, RoBERTa, ELECTRA and others, and in DistilBERT."""


def num_layers(model: Any) -> int:
    """Layers of a model that can be cut; 0 for any other."""
    return len(_layers(model)) if _stack(model) else 0


def split(model: Any, num_trainable: int) -> tuple[Any, Any]:
    """The model up to its last ``num_trainable`` layers, and these, to be called with ``inputs_embeds``.

    Raises:
        ConfigError: it is of a kind that cannot be cut.
    """
    name = _stack(model)
    if not name:
        raise ConfigError(
            f"{type(model).__name__} cannot be cut into layers, for they share more than their hidden states."
            " BERT, RoBERTa, XLM-RoBERTa, CamemBERT, ELECTRA and DistilBERT can; or take trainer=finetune."
        )
    stack, layers = getattr(model, name), _layers(model)
    first, last = layers[: len(layers) - num_trainable], layers[len(layers) - num_trainable :]
    given: dict[str, nn.Module] = {"embeddings": GivenStates()}
    if hasattr(model, "embeddings_project"):  # of ELECTRA, whose embeddings are narrower
        given["embeddings_project"] = nn.Identity()
    return (
        _with(model, **{name: _with(stack, layer=first)}),
        _with(model, **given, **{name: _with(stack, layer=last)}),
    )


class GivenStates(nn.Module):
    """Stands where embeddings are computed, and answers the hidden states that it is given."""

    def forward(self, input_ids: None = None, inputs_embeds: Any = None, *_: Any, **__: Any) -> Tensor:
        """The hidden states (B, T, D)."""
        states_BTD: Tensor = inputs_embeds
        return states_BTD


def _stack(model: Any) -> str:
    """Name of the module that holds nothing but layers, one after the other; empty where there is none."""
    for name in STACKS:
        children = dict(getattr(model, name, nn.Identity()).named_children())
        if list(children) == ["layer"] and isinstance(children["layer"], nn.ModuleList):
            return name
    return ""


def _layers(model: Any) -> nn.ModuleList:
    layers: nn.ModuleList = getattr(model, _stack(model)).layer
    return layers


def _with(module: Any, **children: nn.Module) -> Any:
    """The module with other children; all the rest is shared."""
    twin = copy.copy(module)
    twin._modules = {**module._modules, **children}
    return twin
