"""Checks of encoders: what they declare, read, and give."""

from collections.abc import Sequence
from typing import Any

from matrixhub.errors import DataError, MatrixHubError
from matrixhub.testing.check import check, fail, skip
from matrixhub.testing.compare import apart, changed, tolerance
from matrixhub.testing.rows import WORDS, odd_rows, sentences
from matrixhub.testing.subject import Subject, told
from matrixhub.types import Features

LEVELS = {"pooled", "tokens", "layers"}


@check("encoder", needs=("builds",))
def encoder_protocol(subject: Subject) -> None:
    """It has what ``matrixhub.Encoder`` lists: modality (one of those it is registered for), processor, dim
    and budget above zero; what it is registered to produce is pooled, tokens or layers.

    Mend: set these attributes in __init__, and compare register(..., consumes=..., produces=...).
    """
    encoder, component = subject.built, subject.component
    for name in ("modality", "processor", "dim", "budget"):
        if not hasattr(encoder, name):
            fail(f"it has no attribute {name}")
    for name in ("prepare", "size", "collate"):
        if not callable(getattr(encoder.processor, name, None)):
            fail(f"its processor has no method {name}")
    if encoder.modality not in component.consumes:
        fail(
            f"its modality is {encoder.modality!r}, and it is registered for "
            f"{', '.join(component.consumes) or 'none'}"
        )
    for name in ("dim", "budget"):
        value = getattr(encoder, name)
        if not isinstance(value, int) or value < 1:
            fail(f"its {name} is {value!r}")
    if odd := set(component.produces) - LEVELS or ({"pooled"} - set(component.produces)):
        fail(
            f"it is registered to produce {', '.join(component.produces) or 'nothing'}: "
            f"look at {', '.join(odd)}"
        )
    if "layers" in component.produces and not (hasattr(encoder, "num_layers") and hasattr(encoder, "split")):
        fail("it is registered to produce layers, and has no num_layers and split")


@check("encoder", needs=("answers", "encoder_protocol"))
def declared_shapes(subject: Subject) -> None:
    """Features have the declared width and levels: pooled float32 (B, dim); with ``"tokens"`` also float32
    (B, T, dim) and a bool mask (B, T). Stored features and heads are laid out by these.

    Mend: compare dim, produces and the last line of forward; give float32, whatever the model computes in.
    """
    import torch

    encoder = subject.built
    features = ask(subject, encoder.processor.prepare(all_rows(subject)))
    _expect("pooled_BD", features.pooled_BD, (len(all_rows(subject)), encoder.dim), torch.float32)
    if "tokens" not in subject.component.produces:
        return
    if features.tokens_BTD is None or features.mask_BT is None:
        fail("it is registered to produce tokens, and gives none")
    num_rows, num_tokens = features.mask_BT.shape
    _expect(
        "tokens_BTD", features.tokens_BTD, (len(all_rows(subject)), num_tokens, encoder.dim), torch.float32
    )
    _expect("mask_BT", features.mask_BT, (num_rows, num_tokens), torch.bool)


@check("encoder", needs=("answers", "encoder_protocol"))
def rows_differ(subject: Subject) -> None:
    """Two different rows have different features.

    Mend: look whether the batch's values reach the model at all, or a mask hides all of them.
    """
    one, two = subject.answered["pooled features"][:2]
    if apart(one, two) < 1e-4:
        fail(f"the first two rows have pooled features that differ by {apart(one, two):.3g} only")


@check("encoder", needs=("builds", "encoder_protocol"))
def processor_reads_rows_alone(subject: Subject) -> None:
    """The processor prepares each row by itself, and says a size of at least 1; rows are prepared ahead in
    threads, in groups that have nothing to do with batches. Every tensor of a batch has a row for each row.

    Mend: keep nothing between calls of prepare, and pad in collate, not in prepare.
    """
    processor, rows = subject.built.processor, all_rows(subject)
    with subject.watched():
        together = processor.prepare(rows)
        if len(together) != len(rows):
            fail(f"{len(rows)} rows give {len(together)} items")
        for number, (item, row) in enumerate(zip(together, rows, strict=True)):
            (alone,) = processor.prepare([row])
            sizes = processor.size(item), processor.size(alone)
            if sizes[0] != sizes[1] or sizes[0] < 1:
                fail(f"row {number + 1} has size {sizes[0]} among others and {sizes[1]} alone")
            if names := changed(processor.collate([alone]), processor.collate([item])):
                fail(f"row {number + 1} alone gives another {', '.join(names)} than among others")
        batch = processor.collate(together)
    if odd := [name for name, tensor in batch.items() if tensor.shape[:1] != (len(rows),)]:
        fail(f"{odd[0]} of a batch of {len(rows)} rows has shape {tuple(batch[odd[0]].shape)}")
    if "truncated" in batch and (
        str(batch["truncated"].dtype) != "torch.bool" or batch["truncated"].ndim != 1
    ):
        fail(f"truncated is {batch['truncated'].dtype} of shape {tuple(batch['truncated'].shape)}")


@check("encoder", needs=("processor_reads_rows_alone", "independent_of_batch", "independent_of_padding"))
def encodes_in_order(subject: Subject) -> None:
    """Through the core's own loop (rows sorted by size, batches within the budget, prepared in threads) many
    rows come back in their order, as each comes alone.

    Mend: processor and encoder keep nothing from one call to the next, and size() grows with what a row
    costs.
    """
    import torch

    from matrixhub.run.encode import encode_rows

    rows = all_rows(subject)
    many = [rows[number % len(rows)] for number in range(5 * len(rows))]
    if subject.built.modality == "text" and "text" not in subject.rows:
        many = sentences(200)
    budget = min(
        subject.built.budget,
        4 * max(map(subject.built.processor.size, subject.built.processor.prepare(rows))),
    )
    with subject.watched():
        parts = list(encode_rows(subject.built, many, device=torch.device("cpu"), budget=budget))
    seen = sorted(position for part in parts for position in part.positions)
    if seen != list(range(len(many))):
        fail(f"{len(many)} rows come back as {len(seen)}")
    for part in parts[:: max(1, len(parts) // 4)]:
        for place, position in list(enumerate(part.positions))[:1]:
            alone = ask(subject, subject.built.processor.prepare([many[position]])).pooled_BD[0]
            if (difference := apart(part.features.pooled_BD[place], alone)) > tolerance(alone):
                fail(f"row {position + 1} comes back with pooled features that differ by {difference:.3g}")


@check("encoder", needs=("builds", "encoder_protocol"))
def refuses_foreign_values(subject: Subject) -> None:
    """A value that is none of its modality raises ``DataError`` with the position of its row: a table of a
    million rows is mended by the one that tells which.

    Mend: raise matrixhub.DataError("what is allowed", row=position) in prepare.
    """
    good = all_rows(subject)[0]
    try:
        with subject.watched():
            subject.built.processor.prepare([good, object()])
    except DataError as error:
        if error.row != 1:
            fail(f"the second of two rows is foreign, and the error has row={error.row}")
        return
    except Exception as error:
        fail(f"a foreign value raises no DataError but {told(error)}")
    fail("a foreign value is prepared as if it were one of its own")


@check("encoder", needs=("answers", "encoder_protocol"))
def odd_values(subject: Subject) -> None:
    """Empty, huge and odd values have finite features, or raise a typed error that names the row. They come
    up in real tables, and must not end a run with a traceback, or spoil the other rows with NaN.

    Mend: cut what is too long (and set truncated), give an empty row one padding token, raise
    matrixhub.DataError with row= for what cannot be read.
    """
    found = odd_rows(subject.built.modality)
    if not found:
        skip(f"the kit has no odd values of {subject.built.modality}")
    for name, value in found.items():
        try:
            with subject.watched():
                items = subject.built.processor.prepare([value])
            features = ask(subject, items)
        except DataError as error:
            if error.row != 0:
                fail(f"{name}: the error has row={error.row}, and the only row is 0: {error}")
            continue
        except MatrixHubError:
            continue
        except Exception as error:
            fail(f"{name}: it raises {told(error)}")
        if not bool(features.pooled_BD.isfinite().all()):
            fail(f"{name}: its features hold NaN or infinity")


@check("encoder", needs=("declared_shapes",))
def words_are_tokens(subject: Subject) -> None:
    """Text that comes as a list of words has one token for each word: tags are learned and answered word by
    word.

    Mend: take lists of strings in prepare, and give each word the features of its first part.
    """
    if subject.built.modality != "text" or "tokens" not in subject.component.produces:
        skip("it gives no tokens of text")
    with subject.watched():
        items = subject.built.processor.prepare(WORDS)
    mask_BT = ask(subject, items).mask_BT
    counts = [] if mask_BT is None else mask_BT.sum(dim=1).tolist()
    if counts != [len(words) for words in WORDS]:
        fail(f"rows of {', '.join(str(len(words)) for words in WORDS)} words have {counts} tokens")


def all_rows(subject: Subject) -> list[Any]:
    """The kit's rows of its modality, or the declared ones."""
    rows: list[Any] = subject.exercise.rows(subject.built)  # type: ignore[attr-defined]
    return rows


def ask(subject: Subject, items: Sequence[Any], encoder: Any = None) -> Features:
    """Features of prepared rows in one batch."""
    import torch

    encoder = encoder if encoder is not None else subject.built
    with subject.watched(), torch.no_grad():
        features: Features = encoder(subject.built.processor.collate(items))
    return features


def _expect(name: str, tensor: Any, shape: tuple[int, ...], dtype: Any) -> None:
    if tuple(tensor.shape) != shape:
        fail(f"{name} has shape {tuple(tensor.shape)}, declared is {shape}")
    if tensor.dtype != dtype:
        fail(f"{name} is {tensor.dtype}, and must be {dtype}")
