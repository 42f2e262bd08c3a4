"""Targets of a product as tensors over all rows of its table."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import torch
from torch import Tensor

from matrixhub.data.columns import as_columns, is_marked, require_columns
from matrixhub.data.pairs import number_pairs, require_different
from matrixhub.data.splits import Splits
from matrixhub.data.targets import UNSEEN, Encoded, check_lengths, encode_target, fit_target
from matrixhub.types import RETRIEVAL, UNTYPED_FIELD, Target

_UNSEEN = f"{UNSEEN} Read more rows, or name all classes: product.outputs.{{}}.classes=[…]."
_STRATIFY = " Where rows are not split already, product.split.stratify=true trains on some of each class."


@dataclass(frozen=True, slots=True)
class Targets:
    """What the outputs of a product learn.

    Attributes:
        specs: by output.
        encoded: by output, over all rows of the table; rows outside the splits hold fillers.
    """

    specs: dict[str, Target]
    encoded: dict[str, Tensor]


def fit_targets(
    table: pa.Table, outputs: Mapping[str, Any], inputs: Mapping[str, Any], splits: Splits
) -> Targets:
    """Fit every output on the training rows and encode the rows of all splits.

    Raises:
        DataError: names the row, what is wrong and what is allowed.
    """
    specs: dict[str, Target] = {}
    encoded: dict[str, Tensor] = {}
    used = np.sort(np.concatenate([splits.train, splits.validation, splits.test]))
    for name, output in outputs.items():
        if output["task"] == RETRIEVAL:
            specs[name], encoded[name] = Target(RETRIEVAL), _pairs(table, inputs, output)
            require_different(encoded[name][torch.from_numpy(splits.train)].numpy())
            continue
        column = output["target"]
        require_columns(table, [column], role=f"product.outputs.{name}.target")
        if output["task"] == "token_classification":
            _check_words(table, inputs, column, used)
        specs[name] = fit_target(
            table[column].take(pa.array(splits.train)),
            task=output["task"],
            name=column,
            rows=splits.train.tolist(),
            untyped=is_marked(table, column, UNTYPED_FIELD),
            classes=output["classes"],
            separator=output["separator"],
        )
        unseen = _UNSEEN.format(name) + _STRATIFY * (output["task"] == "classification")
        encoded[name] = encode_rows(table, output, specs[name], used, unseen=unseen)
    return Targets(specs, encoded)


def encode_targets(
    table: pa.Table, outputs: Mapping[str, Any], inputs: Mapping[str, Any], specs: Mapping[str, Target]
) -> dict[str, Tensor]:
    """Encoded targets of all rows of a table, for outputs that were fitted before.

    Raises:
        DataError: a target column is missing, or a target does not fit; names the row.
    """
    rows = np.arange(table.num_rows)
    for name, output in outputs.items():
        if output["task"] == RETRIEVAL:
            continue
        require_columns(table, [output["target"]], role=f"the target of output '{name}'")
        if output["task"] == "token_classification":
            _check_words(table, inputs, output["target"], rows)
    return {
        name: _pairs(table, inputs, outputs[name])
        if spec.task == RETRIEVAL
        else encode_rows(table, outputs[name], spec, rows)
        for name, spec in specs.items()
    }


def encode_rows(
    table: pa.Table, output: Mapping[str, Any], spec: Target, rows: Any, *, unseen: str = UNSEEN
) -> Tensor:
    """Encoded targets of these rows, at their positions in a tensor over the whole table."""
    column = output["target"]
    numbers = encode_target(
        table[column].take(pa.array(rows)),
        spec,
        name=column,
        rows=rows,
        untyped=is_marked(table, column, UNTYPED_FIELD),
        separator=output["separator"],
        unseen=unseen,
    )
    dense = torch.from_numpy(numbers) if isinstance(numbers, np.ndarray) else pad_tags(numbers)
    whole = dense.new_zeros((table.num_rows, *dense.shape[1:]))
    whole[torch.from_numpy(rows)] = dense
    return whole


def _pairs(table: pa.Table, inputs: Mapping[str, Any], output: Mapping[str, Any]) -> Tensor:
    columns = [as_columns(one["column"]) for one in inputs.values()]
    return torch.from_numpy(number_pairs(table, columns, output["target"]))


def pad_tags(tags: Encoded) -> Tensor:
    """Rows of tag numbers as one int64 tensor (N, longest), padded with -100."""
    longest = max((len(row) for row in tags), default=0)
    padded = torch.full((len(tags), max(longest, 1)), -100, dtype=torch.long)
    for i, row in enumerate(tags):
        padded[i, : len(row)] = torch.from_numpy(np.asarray(row))
    return padded


def _check_words(table: pa.Table, inputs: Mapping[str, Any], column: str, rows: Any) -> None:
    words = next(iter(inputs.values()))["column"]
    require_columns(table, [words], role="an input")
    taken = pa.array(rows)
    check_lengths(table[words].take(taken), table[column].take(taken), name=column, rows=rows)
