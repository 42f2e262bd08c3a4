"""A trained product scored on labelled rows, in batches."""

import numpy as np
import pyarrow as pa
import torch
from torch import Tensor

from matrixhub.errors import DataError
from matrixhub.protocols import Source
from matrixhub.run.encode import joined
from matrixhub.run.evaluate import Scores, score
from matrixhub.run.generate import answers_of
from matrixhub.run.overlap import metrics
from matrixhub.run.product import Product, rows_from
from matrixhub.run.targets import encode_targets
from matrixhub.run.writer import Likelihood, by_likelihood
from matrixhub.types import RETRIEVAL, Target

BATCH_ROWS = 1024


def score_product(product: Product, source: Source) -> Scores:
    """Loss and metrics over all rows of a source; only outputs and targets are held.

    Raises:
        DataError: a column is missing, a label was never seen in training; names the row.
    """
    if product.generates:
        return _score_texts(product, source)
    specs = {name: Target.from_dict(target) for name, target in product.manifest["targets"].items()}
    outputs: dict[str, list[Tensor]] = {name: [] for name in specs}
    wanted: dict[str, list[Tensor]] = {name: [] for name in specs}
    masks: list[Tensor] = []
    finds = any(spec.task == RETRIEVAL for spec in specs.values())
    seen: list[pa.Table] = []  # only where rows of all batches are told from each other
    first_row = 0
    for table in source.batches(BATCH_ROWS):
        if not table.num_rows:
            continue
        with rows_from(first_row):
            rows = product.transform(table)
            seen += [rows] if finds else []
            targets = encode_targets(rows, product.outputs, product.inputs, specs)
            found, mask = product.outputs_of(rows)
        for name in specs:
            outputs[name].append(found[name].float().cpu())
            wanted[name].append(targets[name])
        masks += [] if mask is None else [mask.cpu()]
        first_row += table.num_rows
    if not first_row:
        raise DataError("there are no rows to score")
    return score(
        product.model.readout,
        {name: joined(parts) for name, parts in outputs.items()},
        joined(masks) if masks else None,
        encode_targets(pa.concat_tables(seen), product.outputs, product.inputs, specs)
        if finds
        else {name: joined(parts, fill=-100) for name, parts in wanted.items()},
    )


def _score_texts(product: Product, source: Source) -> Scores:
    """As ``score_product``, of texts against right answers, which have no loss."""
    said: dict[str, list[str]] = {name: [] for name in product.outputs}
    right: dict[str, list[str]] = {name: [] for name in product.outputs}
    unlikely: dict[str, list[Tensor]] = {name: [] for name in by_likelihood(product.outputs)}
    first_row = 0
    for table in source.batches(BATCH_ROWS):
        with rows_from(first_row):
            rows = product.transform(table)
            answers = answers_of(rows, product.outputs, np.arange(rows.num_rows))
            texts = product.texts_of(rows)
            for name, found_N2 in (product.losses_of(rows, answers) if unlikely else {}).items():
                unlikely[name].append(found_N2)
        for name in product.outputs:
            said[name] += texts[name]
            right[name] += answers[name]
        first_row += table.num_rows
    if not first_row:
        raise DataError("there are no rows to score")
    found = {
        name: metrics(texts, right[name], product.outputs[name].get("metrics", ()))
        for name, texts in said.items()
    }
    for name, parts in unlikely.items():
        found[name] |= Likelihood().metrics(torch.cat(parts), torch.zeros(first_row))
    return Scores({}, found, first_row)
