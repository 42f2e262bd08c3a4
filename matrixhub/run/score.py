"""A trained product scored on labelled rows, in batches."""

from typing import Any

import numpy as np
import torch
from torch import Tensor

from matrixhub.data.columns import require_columns
from matrixhub.errors import DataError
from matrixhub.protocols import Source
from matrixhub.run.encode import pad_cat
from matrixhub.run.evaluate import Scores, match_targets
from matrixhub.run.product import Product
from matrixhub.run.targets import encode_rows
from matrixhub.types import Target

BATCH_ROWS = 1024


def score_product(product: Product, source: Source) -> Scores:
    """Loss and metrics over all rows of a source; only outputs and targets are held.

    Raises:
        DataError: a column is missing, a label was never seen in training; names the row.
    """
    specs = {name: Target.from_dict(target) for name, target in product.manifest["targets"].items()}
    outputs: dict[str, list[Tensor]] = {name: [] for name in specs}
    wanted: dict[str, list[Tensor]] = {name: [] for name in specs}
    first_row = 0
    for table in source.batches(BATCH_ROWS):
        require_columns(
            table, [o["target"] for o in product.outputs.values()], role="a target of this product"
        )
        try:
            found, _ = product.outputs_of(table)
            for name, spec in specs.items():
                rows = np.arange(table.num_rows)
                outputs[name].append(found[name].float().cpu())
                wanted[name].append(encode_rows(table, product.outputs[name], spec, rows))
        except DataError as error:
            row = None if error.row is None else first_row + error.row
            raise DataError(error.message, row=row, column=error.column) from error
        first_row += table.num_rows
    if not first_row:
        raise DataError("there are no rows to score")
    losses, metrics = {}, {}
    for name in specs:
        head: Any = product.model.readout.head(name)
        output, target = _joined(outputs[name], 0), _joined(wanted[name], -100)
        target = match_targets(target, output)
        device = next((p.device for p in product.model.readout.parameters()), torch.device("cpu"))
        losses[name] = float(head.loss(output.to(device), target.to(device)))
        metrics[name] = {key: float(value) for key, value in head.metrics(output, target).items()}
    return Scores(losses, metrics, first_row)


def _joined(parts: list[Tensor], fill: float) -> Tensor:
    if parts[0].ndim < 2 or len({part.shape[1:] for part in parts}) == 1:
        return torch.cat(parts)
    return pad_cat(parts, max(part.shape[1] for part in parts), fill)
