"""A trained product, called on rows."""

import contextlib
import dataclasses
import difflib
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import torch

from matrixhub.data.columns import (
    as_columns,
    lacks,
    present_rows,
    require_inputs_of,
    require_width,
    values,
    without_inputs,
)
from matrixhub.errors import DataError
from matrixhub.plan.cell import prompt_inputs
from matrixhub.plan.prompt import filled, known
from matrixhub.plugins import hub
from matrixhub.run.encode import encode_rows, moved, ordered, table_rows, takes_nulls
from matrixhub.run.evaluate import ROW_BATCH
from matrixhub.run.generate import Prefix, stream, streamed_output, write
from matrixhub.run.model import flags, pooled_rows, spread
from matrixhub.run.transform import Answering
from matrixhub.run.writer import by_likelihood
from matrixhub.types import Features, Prediction

FILE_KEYS = {"bytes", "path"}
"""Of a mapping that is a value itself: a file, by its content or its place."""

NEARLY = 0.8
"""How like an optional input a key of a row must be to be taken for it, misspelt (0 to 1)."""

Answer = Prediction | dict[str, Prediction]


class Product:
    """A trained product. Call it on one row or on a list of rows.

    A row is the value of the product's one input (a text, an image path, a PIL image, an array) or a
    mapping of column or input names to values, or, where there are several inputs (or one of several
    columns), a tuple of values. Rows of words to be tagged are texts, cut at white space, or lists
    of words within a list of rows. The answer is a ``Prediction``, or a mapping of output
    names to predictions when the product has several outputs.

    Args:
        manifest: what the artifact says of itself.
        model: encoders and readout, with a generator where one writes; in eval mode.
        folder: where it was loaded from.
    """

    def __init__(self, manifest: Mapping[str, Any], model: Any, folder: Path | None = None) -> None:
        self.manifest = manifest
        self.model = model
        self.folder = folder
        self.inputs: dict[str, Any] = manifest["product"]["inputs"]
        self.outputs: dict[str, Any] = manifest["product"]["outputs"]
        self._tokens = self._words or _reads_tokens(manifest.get("fusion"))
        self.transform = Answering(manifest.get("transform", ()))

    @property
    def name(self) -> str:
        """Of the cell it was trained as."""
        return str(self.manifest["name"])

    @property
    def generates(self) -> bool:
        """Whether its answers are written by a generator."""
        return bool(self.manifest.get("generator"))

    @property
    def columns(self) -> list[str]:
        """Columns that a table must have."""
        return [name for one in self.inputs.values() for name in as_columns(one["column"])]

    def __repr__(self) -> str:
        return f"Product({self.name!r}, inputs={self.columns}, outputs={list(self.outputs)})"

    def __call__(self, rows: Any) -> Any:
        """Answer one row, or a list of rows.

        Raises:
            DataError: a value cannot be read; names the row.
        """
        many = isinstance(rows, list)
        answers = self.predict(rows if many else [rows])
        return answers if many else answers[0]

    def predict(self, rows: Sequence[Any]) -> list[Answer]:
        """Answers to rows, in their order."""
        if not len(rows):
            return []
        return self._answers(self._by_input(rows))

    def stream(self, row: Any, output: str | None = None) -> Iterator[str]:
        """The text of the answer to one row, piece by piece as a generator writes it; all of them together
        are what a call answers.

        Args:
            row: as of a call.
            output: which answer, where there are several.

        Raises:
            ConfigError: nothing here writes piece by piece; no such output.
            DataError: a value cannot be read.
        """
        name = streamed_output(self.manifest, self.model, output)
        told, prefix, _ = self._told(self._by_input([row]))
        (prompt,) = filled(self.outputs[name]["prompt"], told, 1)
        return stream(self.model.generator, prompt, self.manifest["generate"], prefix=prefix)

    def _by_input(self, rows: Sequence[Any]) -> dict[str, list[Any]]:
        if self.transform.transforms:
            return self._columns(self.transform(self._table(rows)))
        return {name: [self._pick(row, name, i) for i, row in enumerate(rows)] for name in self.inputs}

    def predict_table(self, table: pa.Table) -> list[Answer]:
        """Answers to the rows of an Arrow table that has the product's columns, or those its transforms read.

        Raises:
            DataError: a column is missing; a value cannot be read, with its row.
            PluginError: a transform fails, or drops a row.
        """
        return self._answers(self._columns(self.transform(table))) if table.num_rows else []

    def outputs_of(self, table: pa.Table) -> tuple[dict[str, torch.Tensor], torch.Tensor | None]:
        """Raw outputs of every head over the rows of a table, and the mask of words, if any.

        Args:
            table: after ``transform``.

        Raises:
            DataError: as ``predict_table``.
        """
        outputs, mask, _ = self._forward(self._columns(table))
        return outputs, mask

    @torch.inference_mode()
    def features_of(self, name: str, rows: pa.Table | Sequence[Any]) -> Features:
        """What the encoder of one input says of values, on the model's device.

        Args:
            name: of the input.
            rows: a table that has its columns, after ``transform``; or values.

        Raises:
            DataError: a value cannot be read; names the row.
        """
        self.model.eval()
        column = self._values(rows, name) if isinstance(rows, pa.Table) else list(rows)
        found, _ = self._encoded(name, column, range(len(column)))
        return moved(found, next(self.model.parameters()).device)

    def texts_of(self, table: pa.Table) -> dict[str, list[str]]:
        """What a generator writes for the rows of a table, by output.

        Args:
            table: after ``transform``.
        """
        by_output = self._written(self._columns(table))
        return {name: [str(answer.value) for answer in answers] for name, answers in by_output.items()}

    @torch.inference_mode()
    def losses_of(self, table: pa.Table, answers: Mapping[str, Sequence[str]]) -> dict[str, torch.Tensor]:
        """How unlikely a generator holds right answers to the rows of a table: losses and numbers of tokens
        (N, 2), by those outputs that are scored by it.

        Args:
            table: after ``transform``.
            answers: by output.
        """
        by_input = self._columns(table)
        features, _ = self._features(by_input)
        told = self._in_prompts(by_input)
        names, found = by_likelihood(self.outputs), []
        prompts = {n: filled(self.outputs[n]["prompt"], told, table.num_rows) for n in names}
        for start in range(0, table.num_rows, ROW_BATCH):
            part = slice(start, start + ROW_BATCH)
            asked = {
                "features": {name: pooled_rows(one, part) for name, one in features.items()},
                "prompts": {name: prompts[name][part] for name in names},
                "answers": {name: answers[name][part] for name in names},
            }
            found.append(self.model(asked)[0])
        return {name: torch.cat([one[name] for one in found]).cpu() for name in names}

    def _table(self, rows: Sequence[Any]) -> pa.Table:
        """Rows as transforms take them: what is written by input names, by columns; what else it holds, too.

        Raises:
            DataError: a value that no table holds, such as an image in memory; a row of another form.
        """
        found = [self._by_column(row, i) for i, row in enumerate(rows)]
        try:
            return pa.Table.from_pylist(found)
        except (pa.ArrowException, TypeError) as error:
            raise DataError(
                f"this product's transforms read tables, which hold no such value: {error}"
            ) from None

    def _by_column(self, row: Any, position: int) -> dict[str, Any]:
        known = dict(row) if isinstance(row, Mapping) and not row.keys() <= FILE_KEYS else {}
        for name in [name for name in self.inputs if not known or name in known]:
            columns, value = as_columns(self.inputs[name]["column"]), self._raw(row, name, position)
            known.pop(name, None)
            several = isinstance(value, tuple | list) and len(columns) > 1
            known |= dict(zip(columns, value if several else [value] * len(columns), strict=True))
        return known

    def _columns(self, table: pa.Table) -> dict[str, list[Any]]:
        require_inputs_of(table, self.inputs)
        return {name: self._values(table, name) for name in self.inputs}

    def _values(self, table: pa.Table, name: str) -> list[Any]:
        nulls = name in self.model.modalities and takes_nulls(self._encoder(name))
        column, present = self.inputs[name]["column"], present_rows(table, self.inputs[name])
        found = values(table, column, words=self._words, nulls=nulls, present=present)
        if present is None:
            return found
        return [value if is_there else None for value, is_there in zip(found, present, strict=True)]

    def _encoder(self, name: str) -> Any:
        return self.model.encoders[self.model.modalities[name]]

    @property
    def _words(self) -> bool:
        return any(output["task"] == "token_classification" for output in self.outputs.values())

    def _pick(self, row: Any, name: str, position: int) -> Any:
        """The value of one input in a row, whichever way the row is written."""
        value = self._raw(row, name, position)
        return value.split() if self._words and isinstance(value, str) else value

    def _raw(self, row: Any, name: str, position: int) -> Any:
        columns = as_columns(self.inputs[name]["column"])
        if isinstance(row, Mapping) and name in row:
            value = row[name]
        elif isinstance(row, Mapping) and set(columns) <= set(row):
            value = row[columns[0]] if len(columns) == 1 else tuple(row[column] for column in columns)
        elif isinstance(row, tuple) and len(row) == len(self.inputs) > 1:
            value = row[list(self.inputs).index(name)]
        elif isinstance(row, Mapping) and len(self.inputs) > 1 and self.inputs[name].get("optional"):
            self._refuse_misspelt(row, name, position)
            value = None
        elif len(self.inputs) > 1 or (isinstance(row, Mapping) and not row.keys() <= FILE_KEYS):
            raise DataError(self._needs(row), row=position)
        else:
            value = row
        parts = value if isinstance(value, tuple) else (value,)
        if self.inputs[name].get("optional") and all(part is None for part in parts):
            return None
        require_width(value, columns, position)
        return value

    def _refuse_misspelt(self, row: Mapping[str, Any], name: str, position: int) -> None:
        """A row may lack an optional input, but not because of a slip of the pen."""
        unknown = [key for key in map(str, row) if key not in self.inputs and key not in self.columns]
        for wanted in dict.fromkeys((name, *as_columns(self.inputs[name]["column"]))):
            if difflib.get_close_matches(wanted, unknown, n=1, cutoff=NEARLY):
                raise DataError(lacks(wanted, unknown), row=position)

    def _needs(self, row: Any) -> str:
        """What is wrong with a row that lacks an input."""
        if not isinstance(row, Mapping):
            several = f"a mapping of {', '.join(self.inputs)} to values, or a tuple in this order"
            return f"this product reads several inputs: give {several}, not {type(row).__name__}."
        missing = [c for n, i in self.inputs.items() if n not in row for c in as_columns(i["column"])]
        return lacks(next(column for column in missing if column not in row), list(map(str, row)))

    @torch.inference_mode()
    def _forward(
        self, by_input: Mapping[str, Sequence[Any]]
    ) -> tuple[dict[str, torch.Tensor], torch.Tensor | None, list[bool]]:
        """Outputs by name, the mask of words, and which rows were cut."""
        features, cut = self._features(by_input)
        outputs, mask = self.model.readout(features)
        return outputs, mask, cut.tolist()

    @torch.inference_mode()
    def _features(self, by_input: Mapping[str, Sequence[Any]]) -> tuple[dict[str, Features], torch.Tensor]:
        """Features of each input that is encoded, on the model's device, and which rows were cut."""
        self.model.eval()
        # A generator need not have parameters.
        device = next((p.device for p in self.model.parameters()), torch.device("cpu"))
        features: dict[str, Features] = {}
        cut = torch.zeros(len(next(iter(by_input.values()))), dtype=torch.bool)
        self._require_an_input(by_input)
        for name in self.model.modalities:
            column = by_input[name]
            is_optional = self.inputs[name].get("optional", False)
            rows = [i for i, value in enumerate(column) if not (is_optional and value is None)]
            found, truncated = self._encoded(name, [column[i] for i in rows], rows)
            cut[rows] |= truncated
            features[name] = spread(found, flags(rows, len(column))) if is_optional else found
        return {name: moved(one, device) for name, one in features.items()}, cut

    def _require_an_input(self, by_input: Mapping[str, Sequence[Any]]) -> None:
        if all(one.get("optional") for one in self.inputs.values()):
            for position, row in enumerate(zip(*by_input.values(), strict=True)):
                if all(value is None for value in row):
                    raise DataError(without_inputs(self.inputs), row=position)

    def _encoded(
        self, name: str, column: Sequence[Any], rows: Sequence[int]
    ) -> tuple[Features, torch.Tensor]:
        """Features of values, which are those of ``rows``, and which were cut; zeros where there are none."""
        encoder, device = self._encoder(name), next(self.model.parameters()).device
        if not len(column):
            zeros = torch.zeros(1, 1, encoder.dim)
            return Features(zeros[0], zeros, torch.zeros(1, 1, dtype=torch.bool)), torch.zeros(0).bool()
        with table_rows(rows):
            parts = list(encode_rows(encoder, column, device=device))
        back = torch.argsort(torch.tensor([position for part in parts for position in part.positions]))
        found = ordered([part.features for part in parts], back, tokens=self._tokens)
        return found, torch.cat([part.truncated for part in parts])[back]

    def _answers(self, by_input: Mapping[str, Sequence[Any]]) -> list[Answer]:
        answers = self._written(by_input) if self.generates else self._decoded(by_input)
        if len(answers) == 1:
            return list(next(iter(answers.values())))
        return [dict(zip(answers, row, strict=True)) for row in zip(*answers.values(), strict=True)]

    def _in_prompts(self, by_input: Mapping[str, Sequence[Any]]) -> dict[str, Sequence[Any]]:
        return {name: known(one, by_input[name]) for name, one in prompt_inputs(self.inputs).items()}

    def _told(
        self, by_input: Mapping[str, Sequence[Any]]
    ) -> tuple[dict[str, Sequence[Any]], Prefix, torch.Tensor]:
        """What may stand in prompts, what stands before them, and which rows were cut by an encoder."""
        told = self._in_prompts(by_input)
        features, cut = self._features(by_input)

        def prefix(places: Sequence[int]) -> torch.Tensor | None:
            some = {name: pooled_rows(one, list(places)) for name, one in features.items()}
            found: torch.Tensor | None = self.model.readout(some)
            return found

        return told, prefix, cut

    def _written(self, by_input: Mapping[str, Sequence[Any]]) -> dict[str, list[Prediction]]:
        answers, num_rows = {}, len(next(iter(by_input.values())))
        told, prefix, cut = self._told(by_input)
        for name, output in self.outputs.items():
            prompts = filled(output["prompt"], told, num_rows)
            texts = write(self.model.generator, prompts, self.manifest["generate"], prefix=prefix)
            answers[name] = [
                Prediction(text.text, truncated=text.truncated or was_cut)
                for text, was_cut in zip(texts, cut.tolist(), strict=True)
            ]
        return answers

    def _decoded(self, by_input: Mapping[str, Sequence[Any]]) -> dict[str, list[Prediction]]:
        outputs, mask_BT, cut = self._forward(by_input)
        answers: dict[str, list[Prediction]] = {}
        for name, output in outputs.items():
            predictions = self.model.readout.head(name).decode(output, mask_BT)
            answers[name] = [
                dataclasses.replace(prediction, truncated=True) if was_cut else prediction
                for prediction, was_cut in zip(predictions, cut, strict=True)
            ]
        return answers


def _reads_tokens(fusion: Mapping[str, Any] | None) -> bool:
    return fusion is not None and "tokens" in hub().component("fusion", fusion["name"]).consumes


def answer_columns(answer: Answer, outputs: Sequence[str]) -> dict[str, Any]:
    """An answer as columns: ``predicted_OUTPUT``, ``predicted_OUTPUT_score`` where known, ``truncated``."""
    by_output = answer if isinstance(answer, dict) else {outputs[0]: answer}
    row: dict[str, Any] = {}
    for name, prediction in by_output.items():
        row[f"predicted_{name}"] = prediction.value
        if prediction.score is not None:
            row[f"predicted_{name}_score"] = round(prediction.score, 6)
        row["truncated"] = prediction.truncated or row.get("truncated", False)
    return row


def stream_answers(product: Product, tables: Iterator[pa.Table]) -> Iterator[tuple[pa.Table, list[Answer]]]:
    """Table after table with its answers; errors name the row of the whole stream."""
    first_row = 0
    for table in tables:
        with rows_from(first_row):
            answers = product.predict_table(table)
        yield table, answers
        first_row += table.num_rows


def rows_from(first_row: int) -> contextlib.AbstractContextManager[None]:
    """Errors raised inside name the row of the whole stream, where a table begins at ``first_row``."""
    return table_rows(range(first_row, sys.maxsize))
