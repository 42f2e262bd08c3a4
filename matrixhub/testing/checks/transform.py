"""Checks of transforms: rows to rows, the same every time, when training and when answering."""

from typing import TYPE_CHECKING, Any

from matrixhub.testing.check import check, fail, skip
from matrixhub.testing.rows import sentences
from matrixhub.testing.subject import Subject
from matrixhub.types import SPLIT_COLUMN

if TYPE_CHECKING:
    import pyarrow as pa

TARGET = "label"


@check("transform", needs=("builds",))
def tables_to_tables(subject: Subject) -> None:
    """Called with a pyarrow table it returns one, with all columns of it and at least one row of the kit's
    twenty: it may add and change columns, and a run refuses one that drops some.

    Mend: return a pyarrow.Table; change it with set_column and append_column, and leave out nothing.
    """
    import pyarrow as pa

    given = table(subject)
    found = _transformed(subject, given)
    if not isinstance(found, pa.Table):
        fail(f"it returns a {type(found).__name__}")
    if not found.num_rows:
        fail("it drops all rows")
    _keeps_columns(given, found)


@check("transform", needs=("tables_to_tables",))
def same_rows_every_time(subject: Subject) -> None:
    """The same table gives the same rows, by this one and by another of the same options.

    Mend: seed what is drawn by an option; keep nothing from one call to the next.
    """
    import torch

    given = table(subject)
    first = _transformed(subject, given)
    with torch.random.fork_rng(devices=[]):
        for how, one in (("when called again", subject.built), ("from another one", subject.build())):
            torch.manual_seed(99)
            if not _transformed(subject, given, one).equals(first):
                fail(f"the same table gives other rows {how}")


@check("transform", needs=("tables_to_tables",))
def needs_no_target(subject: Subject) -> None:
    """It works without the column of right answers, and keeps all others: there is none in the rows that a
    product is to answer. One with ``training_only = True`` is left out there, and not asked.

    Mend: ask whether the column is there (if name in table.column_names) before you read it.
    """
    _skip_training_only(subject)
    given = _to_answer(subject)
    try:
        found = _transformed(subject, given)
    except Exception as error:
        fail(f"without the column '{TARGET}' it raises {type(error).__name__}: {error}")
    _keeps_columns(given, found)


@check("transform", needs=("needs_no_target",))
def keeps_every_row(subject: Subject) -> None:
    """Without the column of right answers it gives as many rows as it is given, many or one: every row that a
    product is to answer wants its answer. One with ``training_only = True`` may drop some.

    Mend: keep the row and change its values, or say training_only = True where a product can do without it
    while it answers.
    """
    _skip_training_only(subject)
    given = _to_answer(subject)
    if (found := _transformed(subject, given).num_rows) != given.num_rows:
        fail(f"it makes {found} rows of {given.num_rows}")
    for number in range(given.num_rows):
        if (found := _transformed(subject, given.slice(number, 1)).num_rows) != 1:
            fail(f"it makes {found} rows of row {number + 1} alone")


@check("transform", needs=("tables_to_tables", "same_rows_every_time"))
def answers_each_row_alone(subject: Subject) -> None:
    """A row that it keeps has the same values when it comes alone: a product answers one row as it answers
    many. One with ``training_only = True`` answers none, and is not asked.

    Mend: take nothing over the rows of the table (a mean, a rank) for the values of a column.
    """
    _skip_training_only(subject)
    whole = table(subject)
    together = _transformed(subject, whole).to_pylist()
    for number in range(3):
        alone = _transformed(subject, whole.slice(number, 1)).to_pylist()
        if alone and alone[0] not in together:
            fail(f"row {number + 1} alone has other values than among {whole.num_rows}")


def table(subject: Subject) -> "pa.Table":
    """Twenty rows of text, numbers and labels; declared rows of ``table`` instead, where there are any."""
    import pyarrow as pa

    if declared := subject.rows.get("table"):
        return pa.Table.from_pylist(declared)
    count = 20
    return pa.table(
        {
            "text": [*sentences(count - 2), "", "row 0 says about blue"],
            "number": [float(i % 7) for i in range(count)],
            TARGET: ["red" if i % 2 else "blue" for i in range(count)],
            SPLIT_COLUMN: ["train" if i % 5 else "test" for i in range(count)],
        }
    )


def _transformed(subject: Subject, given: "pa.Table", transform: Any = None) -> "pa.Table":
    with subject.watched():
        return (subject.built if transform is None else transform)(given)


def _to_answer(subject: Subject) -> "pa.Table":
    """Rows as a product is given them to answer."""
    given = table(subject)
    return given.select([name for name in given.column_names if name != TARGET])


def _keeps_columns(given: "pa.Table", found: "pa.Table") -> None:
    """Fail where a column of the one is not in the other."""
    if dropped := [name for name in given.column_names if name not in found.column_names]:
        fail(f"it drops the column {dropped[0]}")


def _skip_training_only(subject: Subject) -> None:
    """Pass over what is asked of rows to answer, where a product leaves it out."""
    if getattr(subject.built, "training_only", False):
        skip("it is for training alone (training_only = True)")
