"""Run folders and what is read back from them; the mark of an encoder's code."""

import json
import time
from pathlib import Path

import pytest

from matrixhub.errors import ConfigError
from matrixhub.plan.history import read_records
from matrixhub.plan.identity import code_digest
from matrixhub.run.launch import new_run_folder


def test_runs_of_one_second_have_folders_of_their_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(time, "strftime", lambda form: "now")
    names = [new_run_folder(str(tmp_path / "deep" / "runs")).name for _ in range(3)]
    assert names == ["now", "now-2", "now-3"]


def test_a_file_in_the_place_of_the_folder_is_told(tmp_path: Path) -> None:
    (tmp_path / "runs").write_text("")
    with pytest.raises(ConfigError, match=r"output_dir=.*no folder can be made there"):
        new_run_folder(str(tmp_path / "runs"))


def test_records_of_a_run_that_was_killed_are_read_to_the_last_whole_line(tmp_path: Path) -> None:
    assert read_records(tmp_path) == []
    lines = [json.dumps({"cell": name}) for name in "abc"]
    (tmp_path / "records.jsonl").write_text("\n".join(lines)[:-4])
    assert [record["cell"] for record in read_records(tmp_path)] == ["a", "b"]


def test_edited_code_has_another_digest(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "acme_pkg" / "deep").mkdir(parents=True)
    parts = [tmp_path / "acme_pkg" / "__init__.py", tmp_path / "acme_pkg" / "deep" / "model.py"]
    for path in (*parts, tmp_path / "acme_single.py"):
        path.write_text("x = 1\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    targets = ("acme_pkg.deep.model:build", "acme_single:build")
    before = [code_digest(target) for target in targets]
    assert [code_digest(target) for target in targets] == before
    parts[1].write_text("x = 2\n")
    (tmp_path / "acme_single.py").write_text("x = 2\n")
    after = [code_digest(target) for target in targets]
    assert all(old != new for old, new in zip(before, after, strict=True))
