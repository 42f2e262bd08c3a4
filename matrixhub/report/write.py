"""The report of a run in all its forms, written beside its records."""

import json
import os
from collections.abc import Callable, Sequence
from pathlib import Path

from matrixhub.errors import ConfigError, MatrixHubError
from matrixhub.report.compare import comparison_markdown, comparison_page, comparison_rows
from matrixhub.report.flat import flat_rows, write_parquet
from matrixhub.report.load import RunData, load_run
from matrixhub.report.markdown import run_markdown
from matrixhub.report.page import run_page

HTML, MARKDOWN, PARQUET = "report.html", "report.md", "records.parquet"


def write_report(folder: Path) -> Path:
    """Write ``report.html``, ``report.md`` and ``records.parquet`` into a run folder, finished or broken.

    Returns:
        Where ``report.html`` is.

    Raises:
        ConfigError: it is not the folder of a run.
        MatrixHubError: a file cannot be written.
    """
    run = load_run(folder)
    _put_text(run.folder / HTML, lambda: run_page(run))
    _put_text(run.folder / MARKDOWN, lambda: run_markdown(run))
    _put(run.folder / PARQUET, lambda staged: write_parquet(flat_rows(run), staged))
    return run.folder / HTML


def write_as(runs: Sequence[RunData], path: Path) -> None:
    """Write one file in the form that its suffix names: one run's report, or several runs compared.

    Raises:
        ConfigError: another suffix; names those there are.
        MatrixHubError: the file cannot be written.
    """
    makers = {
        ".html": lambda: run_page(runs[0]) if len(runs) == 1 else comparison_page(runs),
        ".md": lambda: run_markdown(runs[0]) if len(runs) == 1 else comparison_markdown(runs),
        ".json": lambda: as_json(runs),
    }
    if path.suffix == ".parquet" and len(runs) == 1:
        _put(path, lambda staged: write_parquet(flat_rows(runs[0]), staged))
    elif path.suffix in makers:
        _put_text(path, makers[path.suffix])
    else:
        allowed = [*makers, ".parquet"] if len(runs) == 1 else makers
        raise ConfigError(f"{path}: the name must end in {', '.join(allowed)}, which says what to write.")


def as_json(runs: Sequence[RunData]) -> str:
    """One run's outputs and failures, or several runs compared, as a JSON list."""
    rows = flat_rows(runs[0]) if len(runs) == 1 else comparison_rows(runs)
    return json.dumps(rows, ensure_ascii=False, indent=1)


def _put_text(path: Path, make: Callable[[], str]) -> None:
    _put(path, lambda staged: staged.write_text(make(), encoding="utf-8", errors="replace"))


def _put(path: Path, write: Callable[[Path], object]) -> None:
    """Write a file whole or not at all: a reader may be looking at the one before."""
    staged = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        write(staged)
        staged.replace(path)
    except OSError as error:
        staged.unlink(missing_ok=True)
        raise MatrixHubError(f"The report cannot be written to {path}: {error}.") from error
