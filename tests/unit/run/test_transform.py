"""What the core asks of transforms."""

from collections.abc import Callable

import pyarrow as pa
import pytest

from matrixhub.errors import DataError, PluginError
from matrixhub.run import transform
from matrixhub.run.transform import Answering, transformed
from matrixhub.types import PATH_FIELD

SCHEMA = pa.schema([pa.field("file", pa.string(), metadata=PATH_FIELD), pa.field("size", pa.int64())])
TABLE = pa.table({"file": ["/a", "/b", "/c"], "size": [1, 2, 3]}, schema=SCHEMA)
ONE = [{"name": "acme.one"}]

Work = Callable[[pa.Table], object]


def given(monkeypatch: pytest.MonkeyPatch, work: Work) -> None:
    """A transform that does this work."""
    monkeypatch.setattr(transform, "build", lambda kind, options: work)


def anew(table: pa.Table) -> pa.Table:
    """As a stranger writes it: by way of Python, with sizes as texts."""
    return pa.Table.from_pylist([{**row, "size": str(row["size"])} for row in table.to_pylist()])


def test_a_column_made_anew_is_what_it_was_where_its_type_is(monkeypatch: pytest.MonkeyPatch) -> None:
    given(monkeypatch, anew)
    found = transformed(TABLE, ONE)
    assert found["size"].to_pylist() == ["1", "2", "3"]
    assert found.schema.field("file").metadata == PATH_FIELD
    assert Answering(ONE)(TABLE).equals(found)


WRONG: dict[str, tuple[Work, type[Exception], str]] = {
    "column": (lambda t: t.drop_columns(["file"]), PluginError, "'acme.one' drops the column 'file'"),
    "type": (lambda t: t.to_pylist(), PluginError, "'acme.one' gives a list, not a pyarrow.Table"),
    "failure": (lambda t: t["no"], PluginError, "'acme.one' failed: KeyError"),
    "all rows": (lambda t: t.slice(0, 0), DataError, "'acme.one' drops all rows"),
}


@pytest.mark.parametrize("fault", WRONG)
def test_faults_are_typed_and_named(fault: str, monkeypatch: pytest.MonkeyPatch) -> None:
    work, kind, message = WRONG[fault]
    given(monkeypatch, work)
    with pytest.raises(kind, match=message):
        transformed(TABLE, ONE)


def test_rows_may_go_in_training_only(monkeypatch: pytest.MonkeyPatch) -> None:
    given(monkeypatch, lambda table: table.slice(0, 2))
    assert transformed(TABLE, ONE).num_rows == 2
    with pytest.raises(PluginError, match=r"'acme.one' makes 2 rows of 3"):
        Answering(ONE)(TABLE)


def test_an_error_of_its_own_stays_as_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    def work(table: pa.Table) -> pa.Table:
        raise DataError("no such size", row=1, column="size")

    given(monkeypatch, work)
    with pytest.raises(DataError, match=r"row 2, column 'size': no such size"):
        transformed(TABLE, ONE)
