"""Every form of a report, of one run and of several."""

import json
import time
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from matrixhub.cli.completion import complete
from matrixhub.cli.report import main
from matrixhub.errors import ConfigError, MatrixHubError
from matrixhub.report.compare import BETTER, MAYBE_BETTER, MAYBE_WORSE, SAME, WORSE, labels, matches
from matrixhub.report.load import load_run
from matrixhub.report.write import write_as, write_report
from tests.unit.report.made_up import failed, matrix, record, run_folder


def test_a_report_is_written_beside_the_records(tmp_path: Path) -> None:
    folder = run_folder(tmp_path, [record(), failed(cell="x", name="bad|name", error="*boom*")])
    assert write_report(folder) == folder / "report.html"
    assert {path.name for path in folder.iterdir()} == {
        "plan.json", "records.jsonl", "records.parquet", "report.html", "report.md",
    }  # fmt: skip
    text = (folder / "report.md").read_text()
    assert (
        "| ★ news | minilm | linear | accuracy | 0.9000 | 0.850 to 0.940 | 0.8000 TF-IDF + linear |" in text
    )
    assert "| bad\\|name | failed | \\*boom\\* |" in text
    assert "    matrixhub run product=news head=linear" in text


def test_the_table_has_a_row_for_every_output_and_failure(tmp_path: Path) -> None:
    folder = run_folder(tmp_path, [record(), failed(cell="x")])
    write_report(folder)
    done, bad = pq.read_table(folder / "records.parquet").to_pylist()
    assert (done["score"], done["low"], done["high"], done["baseline"]) == (0.9, 0.85, 0.94, 0.8)
    assert (done["test_rows"], done["num_parameters"], done["artifact_bytes"]) == (
        200,
        22_600_770,
        91_000_000,
    )
    assert json.loads(done["metrics"]) == {"accuracy": 0.9, "macro_f1": 0.88}
    assert (bad["status"], bad["error"], bad["score"]) == ("failed", "boom", None)
    types = pq.read_schema(folder / "records.parquet")
    write_report(run_folder(tmp_path / "other", [failed()]))
    assert pq.read_schema(tmp_path / "other" / "records.parquet") == types


def test_a_report_of_24_cells_takes_less_than_a_second(tmp_path: Path) -> None:
    folder = run_folder(tmp_path, matrix(3, 4, 2))
    write_report(folder)
    started = time.process_time()
    write_report(folder)
    assert time.process_time() - started < 1.0


def test_the_same_records_make_the_same_report(tmp_path: Path) -> None:
    made = [record(), record(cell="b", head="mlp", score=0.8)]
    pages = [write_report(run_folder(tmp_path / place / "run", made)).read_bytes() for place in "ab"]
    assert pages[0] == pages[1]


def test_what_cannot_be_written_is_told(tmp_path: Path) -> None:
    run = load_run(run_folder(tmp_path, [record()]))
    with pytest.raises(MatrixHubError, match="cannot be written to"):
        write_as([run], tmp_path / "nowhere" / "report.html")
    with pytest.raises(ConfigError, match=r"must end in \.html, \.md, \.json, \.parquet"):
        write_as([run], tmp_path / "report.pdf")
    with pytest.raises(ConfigError, match=r"must end in \.html, \.md, \.json, which"):
        write_as([run, run], tmp_path / "report.parquet")


def verdict(tmp_path: Path, before: float, after: float, **changes: object) -> str:
    one = record(score=before, interval=[before - 0.02, before + 0.02], **changes)
    two = record(score=after, interval=[after - 0.02, after + 0.02], **changes)
    runs = [load_run(run_folder(tmp_path / name, [made])) for name, made in (("a", one), ("b", two))]
    (match,) = matches(runs)
    return match.verdict


@pytest.mark.parametrize(
    ("after", "told"), [(0.9, SAME), (0.91, MAYBE_BETTER), (0.89, MAYBE_WORSE), (0.95, BETTER), (0.8, WORSE)]
)
def test_a_change_within_the_interval_is_told_apart(tmp_path: Path, after: float, told: str) -> None:
    assert verdict(tmp_path, 0.9, after) == told


def test_where_lower_is_better_less_is_better(tmp_path: Path) -> None:
    main = {"topic": {"metric": "accuracy", "higher_is_better": False}}
    assert verdict(tmp_path, 0.9, 0.8, main=main) == BETTER


def test_cells_match_by_id_or_by_what_was_typed(tmp_path: Path) -> None:
    first = run_folder(
        tmp_path / "a",
        [record(), record(cell="c2", overrides=["head=mlp"]), record(cell="c3", overrides=["x=1"])],
    )
    typed = record(overrides=["matrix=demo", "product=news"])
    upgraded = record(cell="d9", overrides=["head=mlp"])
    second = run_folder(tmp_path / "b", [typed, upgraded, record(cell="d8", overrides=["y=1"])])
    found = matches([load_run(first), load_run(second)])
    both = [tuple(line.record["cell"] if line else None for line in match.lines) for match in found]
    assert sorted(both, key=str) == [("ab12", "ab12"), ("c2", "d9"), ("c3", None), (None, "d8")]
    assert {match.verdict for match in found if None in match.lines} == {"· not in both"}


def test_runs_of_one_name_are_told_apart(tmp_path: Path) -> None:
    runs = [load_run(run_folder(tmp_path / place / "run", [record()])) for place in "ab"]
    assert labels(runs) == ["1: run", "2: run"]


def test_the_shell_completes_its_flags() -> None:
    assert complete("matrixhub repo") == ["report"]
    assert complete("matrixhub report runs/one --j") == ["--json"]


def test_the_command_writes_prints_and_compares(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    one = run_folder(tmp_path / "one", [record(), failed(cell="x")])
    two = run_folder(tmp_path / "two", [record(score=0.99, interval=[0.96, 1.0])])
    assert main([str(one)]) == 0
    page = capsys.readouterr().out
    assert "0.850 to 0.940" in page and "failed news-minilm-linear: boom" in page
    assert page.splitlines()[-1].endswith("one/report.html")
    assert main([str(one), str(two)]) == 0
    assert "▲ better" in capsys.readouterr().out
    assert main([str(one), str(two), "--json"]) == 0
    (told,) = json.loads(capsys.readouterr().out)
    assert told["scores"] == {"one": 0.9, "two": 0.99} and told["verdict"] == "better"
    assert main([str(one), "--json"]) == 0
    assert [row["status"] for row in json.loads(capsys.readouterr().out)] == ["done", "failed"]
    for name in ("c.html", "c.md", "c.json"):
        assert main([str(one), str(two), "-o", str(tmp_path / name)]) == 0
        assert "better" in (tmp_path / name).read_text()
    assert not (two / "report.html").exists()
