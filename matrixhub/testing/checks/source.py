"""Checks of sources: the same rows in the same order, however they are read."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from matrixhub.protocols import Source
from matrixhub.testing.check import check, fail
from matrixhub.testing.subject import Subject
from matrixhub.types import PATH_FIELD, SPLIT_COLUMN

if TYPE_CHECKING:
    import pyarrow as pa

SPLITS = {"train", "validation", "test"}


@check("source", needs=("builds",))
def source_protocol(subject: Subject) -> None:
    """It has fingerprint, read and batches; ``read()`` gives a pyarrow table with rows, each column with a
    name of its own.

    Mend: compare matrixhub.Source; return a pyarrow.Table.
    """
    import pyarrow as pa

    if not isinstance(subject.built, Source):
        missing = [name for name in ("fingerprint", "read", "batches") if not hasattr(subject.built, name)]
        fail(f"it has no {', '.join(missing)}")
    table = _read(subject)
    if not isinstance(table, pa.Table):
        fail(f"read() gives a {type(table).__name__}")
    if not table.num_rows:
        fail("read() gives no rows: declare options with which it has some")
    if len(set(table.column_names)) < len(table.column_names):
        fail(f"two columns have one name: {', '.join(table.column_names)}")


@check("source", needs=("source_protocol",))
def stable_order(subject: Subject) -> None:
    """Read twice, by one source or by two of the same options, the rows are the same and in the same order:
    features are stored, and rows are split, by what they are.

    Mend: sort what a file system, a set or a database gives in an order of chance; seed a shuffle by an
    option.
    """
    first = _read(subject)
    for how, again in (("again", _read(subject)), ("by another one", _read(subject, subject.build()))):
        if again.num_rows != first.num_rows:
            fail(f"read {how} it has {again.num_rows} rows, and had {first.num_rows}")
        if not again.equals(first, check_metadata=True):
            fail(f"read {how} it differs, first at {_where(first, again)}")


@check("source", needs=("source_protocol",))
def stable_fingerprint(subject: Subject) -> None:
    """``fingerprint()`` is text, the same for the same rows in every process: what is finished is found by
    it.

    Mend: make it of the options and of name, size and time of the files; not of id(), hash() or the clock.
    """
    with subject.watched():
        one, two = subject.built.fingerprint(), subject.build().fingerprint()
        again = subject.built.fingerprint()
    if not isinstance(one, str) or not one:
        fail(f"it is {one!r}, no text")
    if one != again or one != two:
        fail(f"it is {one!r}, and {again if one != again else two!r} when asked again")
    elsewhere = _fingerprint_elsewhere(subject)
    if elsewhere != one:
        fail(f"it is {one!r}, and {elsewhere!r} in another process")


@check("source", needs=("stable_order",))
def streaming_equals_loading(subject: Subject) -> None:
    """``batches(n)`` gives the rows of ``read()`` in their order, at most n at a time, none of them empty,
    under the same schema.

    Mend: the last batch is shorter; give every batch the schema of the whole, metadata of fields too.
    """
    import pyarrow as pa

    whole = _read(subject)
    for size in (1, 7, 1000):
        with subject.watched():
            batches: list[pa.Table] = list(subject.built.batches(size))
        if wrong := [batch.num_rows for batch in batches if not 0 < batch.num_rows <= size]:
            fail(f"batches({size}) gives one of {wrong[0]} rows")
        if odd := [batch for batch in batches if not batch.schema.equals(whole.schema, check_metadata=True)]:
            fail(f"batches({size}) gives another schema than read(): {odd[0].schema.names}")
        together = pa.concat_tables(batches) if batches else whole.slice(0, 0)
        if together.num_rows != whole.num_rows:
            fail(f"batches({size}) gives {together.num_rows} rows in all, read() gives {whole.num_rows}")
        if not together.combine_chunks().equals(whole.combine_chunks()):
            fail(f"batches({size}) differs from read(), first at {_where(whole, together)}")


@check("source", needs=("source_protocol",))
def columns_keep_their_word(subject: Subject) -> None:
    """Columns marked as paths hold absolute ones, and given splits are called train, validation and test.

    Mend: join relative paths to the folder of the table; rename the splits.
    """
    table = _read(subject)
    for field in table.schema:
        if (field.metadata or {}).items() >= PATH_FIELD.items():
            for number, path in enumerate(table[field.name].to_pylist()):
                if path is not None and not Path(path).is_absolute():
                    fail(f"row {number + 1}, column '{field.name}': the path is relative")
    if SPLIT_COLUMN in table.column_names and (odd := set(table[SPLIT_COLUMN].to_pylist()) - SPLITS):
        fail(f"its splits are called {', '.join(sorted(map(str, odd)))}")


def _read(subject: Subject, source: Any = None) -> "pa.Table":
    with subject.watched():
        return (subject.built if source is None else source).read()


def _where(one: "pa.Table", other: "pa.Table") -> str:
    """The first row and column that differ."""
    if one.schema != other.schema:
        return f"its columns: {one.schema.names} and {other.schema.names}"
    for number, (a, b) in enumerate(zip(one.to_pylist(), other.to_pylist(), strict=False)):
        for name in a:
            if repr(a[name]) != repr(b.get(name)):
                return f"row {number + 1}, column '{name}'"
    return "its metadata"


_ELSEWHERE = """
import importlib, json, sys
target, options = json.loads(sys.stdin.read())
module, _, name = target.partition(":")
print(json.dumps(getattr(importlib.import_module(module), name)(**options).fingerprint()))
"""


def _fingerprint_elsewhere(subject: Subject) -> Any:
    """As a new process makes it, with another seed of hashes."""
    import subprocess
    import sys

    from matrixhub.testing.checks.plugin import child_environment

    done = subprocess.run(
        [sys.executable, "-c", _ELSEWHERE],
        input=json.dumps([subject.component.target, subject.options]),
        env={**child_environment(), "PYTHONHASHSEED": "77"},
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    if done.returncode:
        fail(f"another process cannot make it: {(done.stderr.strip().splitlines() or ['no message'])[-1]}")
    return json.loads(done.stdout.splitlines()[-1])
