"""Every score stands beside the strongest baseline; one that is ahead is shown to be."""

import io
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from matrixhub.plan import Plan
from matrixhub.plan.build import Refusal
from matrixhub.report.lines import best_baseline
from matrixhub.report.table import leaderboard, nearby, print_run
from matrixhub.run.launch import Run


def record(**changes: Any) -> dict[str, Any]:
    score = changes.pop("score", 0.9)
    baselines = changes.pop("baselines", {"majority class": 0.5, "TF-IDF + linear": 0.8})
    metric, higher = changes.pop("metric", "accuracy"), changes.pop("higher", True)
    return {
        "cell": "ab12", "name": "news-minilm-linear",
        "product": "news", "encoder": "minilm", "head": "linear",
        "overrides": [], "status": "done", "metrics": {"topic": {metric: score, "f1": 0.1}},
        "main": {"topic": {"metric": metric, "higher_is_better": higher}},
        "baselines": {"topic": {name: {metric: value} for name, value in baselines.items()}},
        "num_rows": {"train": 100, "validation": 10, "test": 1234}, "train_seconds": 1.26, "notes": [],
        "artifact": "/runs/1/artifacts/news", **changes,
    }  # fmt: skip


def rows(*records: dict[str, Any]) -> list[dict[str, str]]:
    table = leaderboard(records)
    columns = [list(column.cells) for column in table.columns]
    names = [str(column.header) for column in table.columns]
    return [dict(zip(names, map(str, row), strict=True)) for row in zip(*columns, strict=True)]


def test_a_row_holds_the_score_its_baseline_and_the_number_of_test_rows() -> None:
    assert rows(record()) == [
        {
            "product": "news", "encoder": "minilm", "head": "linear", "metric": "accuracy", "score": "0.9000",
            "baseline": "0.8000", "of": "TF-IDF + linear", "test rows": "1,234", "train s": "1.3",
        }
    ]  # fmt: skip


def test_an_interval_has_a_column_where_there_is_one() -> None:
    made = record(outputs={"topic": {"interval": [0.88, 0.9149]}})
    other = record(head="mlp", score=0.5)
    assert [row["95% interval"] for row in rows(made, other)] == ["0.880 to 0.915", "-"]


def test_a_baseline_that_is_ahead_is_shown() -> None:
    (row,) = rows(record(score=0.7))
    assert row["of"] == "TF-IDF + linear (ahead)"
    assert leaderboard([record(score=0.7)]).rows[0].style == "yellow"
    assert leaderboard([record(score=0.9)]).rows[0].style is None


def test_where_lower_is_better_the_lowest_baseline_counts() -> None:
    def error(score: float) -> dict[str, str]:
        (row,) = rows(
            record(score=score, metric="rmse", higher=False, baselines={"mean": 3.0, "linear": 2.0})
        )
        return row

    assert (error(1.5)["baseline"], error(1.5)["of"]) == ("2.0000", "linear")
    assert error(2.5)["of"] == "linear (ahead)"


def test_without_a_baseline_nothing_is_claimed() -> None:
    (row,) = rows(record(baselines={}))
    assert (row["baseline"], row["of"]) == ("-", "-")
    assert best_baseline(record(baselines={}), "topic") == ("-", None)


def test_a_baseline_without_the_main_metric_is_left_out() -> None:
    odd = record()
    odd["baselines"]["topic"]["strange"] = {"other": 1.0}
    assert best_baseline(odd, "topic") == ("TF-IDF + linear", 0.8)


def test_products_in_order_and_best_first_within_one() -> None:
    made = [
        record(product="reviews", score=0.7),
        record(head="a", score=0.6),
        record(head="b", score=0.8),
        record(product="age", metric="rmse", higher=False, score=3.0, head="worse"),
        record(product="age", metric="rmse", higher=False, score=2.0, head="better"),
    ]
    order = [(row["product"], row["head"]) for row in rows(*made)]
    assert order == [
        ("age", "better"), ("age", "worse"), ("news", "b"), ("news", "a"), ("reviews", "linear"),
    ]  # fmt: skip


def test_several_outputs_have_a_row_each() -> None:
    several = record()
    for part in ("metrics", "main", "baselines"):
        several[part]["sender"] = several[part]["topic"]
    assert [row["metric"] for row in rows(several)] == ["topic.accuracy", "sender.accuracy"]


def test_cells_of_one_name_are_told_apart() -> None:
    made = [record(overrides=["product=news", f"trainer.lr={lr}"], score=lr) for lr in (0.1, 0.2)]
    assert [row["with"] for row in rows(*made)] == ["trainer.lr=0.2", "trainer.lr=0.1"]
    assert "with" not in rows(made[0])[0]


def test_cells_that_failed_have_no_row() -> None:
    failed = {"cell": "x", "name": "n", "product": "p", "status": "failed", "error": "boom", "exit_code": 1}
    assert len(rows(record(), failed)) == 1


def run_of(folder: Path, *records: dict[str, Any], refused: list[Refusal] | None = None) -> Run:
    return Run(folder, Plan({}, [], refused=refused or []), list(records))


def test_the_end_of_a_run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    artifact = str(tmp_path / "artifacts" / "news-minilm-linear-ab12")
    notes = ["3 rows are in two splits [kept in train]"]
    refused = [Refusal("mail", (), ("No head is chosen.", "Another reason."))]
    print_run(run_of(tmp_path, record(artifact=artifact, notes=notes), refused=refused))
    page = capsys.readouterr().out
    assert "Leaderboard (test rows)" in page
    assert "news: 3 rows are in two splits [kept in train]" in page
    assert "refused mail: No head is chosen. Another reason." in page
    lines = page.splitlines()
    assert f"Artifacts in {nearby(tmp_path / 'artifacts')}:" in lines
    assert "  news-minilm-linear-ab12" in lines
    assert lines[-1] == f"Next: matrixhub predict {nearby(Path(artifact))} FILE"


def test_the_report_and_the_best_cell_come_last(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    made = [
        record(artifact=str(tmp_path / name), head=name, score=score)
        for name, score in (("a", 0.7), ("b", 0.8))
    ]
    (tmp_path / "report.html").touch()
    print_run(run_of(tmp_path, *made))
    *_, report, following = capsys.readouterr().out.splitlines()
    assert report == f"Report: {nearby(tmp_path / 'report.html')}"
    assert following == f"Next: matrixhub predict {nearby(tmp_path / 'b')} FILE"


def test_when_nothing_finished_there_is_no_table(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    print_run(run_of(tmp_path, {"status": "failed", "name": "n", "error": "boom"}))
    assert capsys.readouterr().out == ""


def test_a_table_in_a_pipe_is_not_folded() -> None:
    console = Console(width=140, record=True, file=io.StringIO())
    long = record(product="a-product-with-a-long-name", encoder="multilingual_e5_small", notes=[])
    console.print(leaderboard([long]))
    assert "a-product-with-a-long-name" in console.export_text()


def test_paths_are_told_as_seen_from_here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert nearby(tmp_path / "runs") == "runs"
    assert nearby(Path("/usr")) == "/usr"


def test_a_narrow_terminal_gets_fewer_columns_and_whole_numbers() -> None:
    made = [record(head="linear", score=0.9871), record(head="mlp", score=0.5)]
    console = Console(width=80, file=io.StringIO(), color_system=None)
    console.print(leaderboard(made, width=80))
    text = console.file.getvalue()  # type: ignore[attr-defined]
    assert "0.9871" in text and "0.5000" in text
    assert "train s" not in text and "interval" not in text
    assert max(map(len, text.splitlines())) <= 80
