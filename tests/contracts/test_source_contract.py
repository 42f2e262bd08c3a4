"""What ``matrixhub.Source`` promises, for every installed source."""

import dataclasses
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

import matrixhub as mh
from matrixhub.protocols import Source
from matrixhub.registry import Component
from tests.contracts.tiny import SOURCES, variants

VARIANTS = variants(mh.list_components("source"), SOURCES)


@dataclasses.dataclass
class Subject:
    """A source under test, and what it was made from."""

    component: Component
    options: dict[str, Any]

    def build(self) -> Any:
        return mh.create("source", self.component.name, **self.options)


@pytest.fixture(params=VARIANTS, ids=lambda v: f"{v[0].name} {v[1]}")
def subject(request: pytest.FixtureRequest, tmp_path: Path) -> Subject:
    component, variant = request.param
    assert component.name in SOURCES, f"give {component.name} a line in tests/contracts/tiny.py"
    return Subject(component, SOURCES[component.name][variant](tmp_path))


def test_it_has_the_shape_of_the_protocol(subject: Subject) -> None:
    source = subject.build()
    assert isinstance(source, Source)
    assert isinstance(source.read(), pa.Table)
    assert source.read().num_rows > 0


def test_the_rows_and_the_fingerprint_are_the_same_every_time(subject: Subject) -> None:
    one, two = subject.build(), subject.build()
    assert isinstance(one.fingerprint(), str) and one.fingerprint()
    assert one.fingerprint() == one.fingerprint() == two.fingerprint()
    assert one.read().equals(two.read(), check_metadata=True)
    assert one.read().equals(one.read())


@pytest.mark.parametrize("size", [1, 7, 1000])
def test_batches_are_the_rows_in_order(subject: Subject, size: int) -> None:
    source = subject.build()
    batches = list(source.batches(size))
    assert all(0 < batch.num_rows <= size for batch in batches)
    whole = source.read()
    assert pa.concat_tables(batches).combine_chunks().equals(whole.combine_chunks())
    assert all(batch.schema.equals(whole.schema, check_metadata=True) for batch in batches)


def test_columns_have_names_of_their_own(subject: Subject) -> None:
    names = subject.build().read().column_names
    assert names and len(names) == len(set(names))


def test_paths_are_absolute(subject: Subject) -> None:
    table = subject.build().read()
    for field in table.schema:
        if (field.metadata or {}).get(b"matrixhub") == b"path":
            assert all(Path(path).is_absolute() for path in table[field.name].to_pylist())


def test_given_splits_go_by_their_names(subject: Subject) -> None:
    table = subject.build().read()
    if mh.SPLIT_COLUMN in table.column_names:
        assert set(table[mh.SPLIT_COLUMN].to_pylist()) <= {"train", "validation", "test"}


@pytest.mark.parametrize("variant", ["csv", "jsonl"])
def test_a_changed_file_changes_the_fingerprint(tmp_path: Path, variant: str) -> None:
    options = SOURCES["core.table"][variant](tmp_path)
    before = mh.create("source", "core.table", **options).fingerprint()
    path = next(tmp_path.glob("*.*l*" if variant == "jsonl" else "*.csv"))
    path.write_bytes(path.read_bytes().replace(b"1", b"2"))
    assert mh.create("source", "core.table", **options).fingerprint() != before
