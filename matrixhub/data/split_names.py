"""The three splits, and the other names people give them."""

from matrixhub.errors import DataError

SPLITS = ("train", "validation", "test")
"""In this order wherever all three appear."""

_CANONICAL = {
    "train": "train",
    "training": "train",
    "validation": "validation",
    "valid": "validation",
    "val": "validation",
    "dev": "validation",
    "test": "test",
    "testing": "test",
}


def split_name(text: object) -> str | None:
    """The split that a name stands for, case and surrounding space ignored; None when it is none of them."""
    return _CANONICAL.get(str(text).strip().casefold())


def require_split_name(text: object, *, row: int | None = None, column: str | None = None) -> str:
    """Like ``split_name``.

    Raises:
        DataError: no split is called that.
    """
    if found := split_name(text):
        return found
    named = "no split" if text is None else f"'{text}'"
    raise DataError(
        f"{named} where one of train, validation (or val, valid, dev) and test is needed",
        row=row,
        column=column,
    )
