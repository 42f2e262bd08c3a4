"""Column names of a file, before any row is read."""

from collections.abc import Sequence
from pathlib import Path

from matrixhub.errors import DataError, unknown_name
from matrixhub.types import SPLIT_COLUMN


def require_good_header(names: Sequence[str], path: Path) -> None:
    """Check that no column appears twice or takes a name that MatrixHub keeps.

    Raises:
        DataError: naming those that do.
    """
    if twice := sorted({repr(name) for name in names if names.count(name) > 1}):
        raise DataError(f"{path} has more than one column called {', '.join(twice)}: rename all but one.")
    if SPLIT_COLUMN in names:
        raise DataError(f"{path} has a column '{SPLIT_COLUMN}', a name MatrixHub keeps: rename it.")


def require_in_header(names: Sequence[str], wanted: Sequence[str], path: Path) -> None:
    """Check that columns named by the option ``paths`` exist.

    Raises:
        DataError: with the nearest names.
    """
    for name in wanted:
        if name not in names:
            raise DataError(
                unknown_name("column", name, names, f"It is in 'paths', {path} has no such column.")
            )


def require_same_header(names: Sequence[str], path: Path, first_names: Sequence[str], first: Path) -> None:
    """Check that a file has the columns of the first one, in any order.

    Raises:
        DataError: with what differs.
    """
    lacks = [repr(name) for name in first_names if name not in names]
    adds = [repr(name) for name in names if name not in first_names]
    what = [f"lacks {', '.join(lacks)}"] * bool(lacks) + [f"adds {', '.join(adds)}"] * bool(adds)
    if what:
        raise DataError(f"{path} {' and '.join(what)}: files read together must have the columns of {first}.")
