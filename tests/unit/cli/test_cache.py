"""What ``matrixhub cache`` tells and removes."""

import json
import os
import time
from pathlib import Path

import pytest

from matrixhub.cli.main import main
from matrixhub.data.cache import shelf_lock, shelves

DAY = 86_400


def make_shelf(root: Path, key: str, *, rows: int, days: float, encoder: str = "text.words") -> Path:
    """A shelf of about 1 kB a row, last used some days ago."""
    segment = root / "features" / key / "segment"
    segment.mkdir(parents=True)
    (segment / "meta.json").write_text(json.dumps({"rows": rows, "checksums": {}}))
    (segment / "data.npy").write_bytes(bytes(1000 * rows))
    about = segment.parent / "shelf.json"
    about.write_text(json.dumps({"encoder": {"name": encoder, "dim": 8}, "level": "pooled"}))
    os.utime(about, (time.time() - days * DAY,) * 2)
    return segment.parent


@pytest.fixture
def root(tmp_path: Path) -> Path:
    make_shelf(tmp_path, "aa", rows=2000, days=40)
    make_shelf(tmp_path, "bb", rows=1000, days=3, encoder="vision.eye")
    make_shelf(tmp_path, "cc", rows=30, days=0)
    return tmp_path


def said(capsys: pytest.CaptureFixture[str], root: Path, *argv: str) -> list[str]:
    assert main(["cache", *argv, "--cache-dir", str(root)]) == 0
    return capsys.readouterr().out.splitlines()


def left(root: Path) -> list[str]:
    return [one.folder.name for one in shelves(root)]


def test_info_tells_rows_size_and_last_use_by_encoder(capsys: pytest.CaptureFixture[str], root: Path) -> None:
    header, newest, middle, oldest, total = said(capsys, root, "info")
    assert header.split() == ["encoder", "options", "level", "rows", "size", "last", "use"]
    assert newest.split()[:5] == ["text.words", "dim=8", "pooled", "30", "30.1"]
    assert middle.startswith("vision.eye  dim=8    pooled  1,000   1.0 MB  2")
    assert oldest.split()[3:6] == ["2,000", "2.0", "MB"]
    assert total == f"3.0 MB in {root}"


def test_info_as_json(capsys: pytest.CaptureFixture[str], root: Path) -> None:
    rows = json.loads("\n".join(said(capsys, root, "info", "--json")))
    assert [row["rows"] for row in rows] == [30, 1000, 2000]
    assert rows[1]["encoder"] == {"name": "vision.eye", "dim": 8}
    assert time.time() - rows[2]["last_used"] == pytest.approx(40 * DAY, abs=60)


def test_an_empty_store_is_told_in_a_line(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    assert said(capsys, tmp_path, "info") == [f"0.0 kB in {tmp_path}"]
    assert said(capsys, tmp_path / "nowhere", "prune", "--all")[-1].startswith("0.0 kB removed")


@pytest.mark.parametrize(
    ("argv", "stay"),
    [
        (("--older-than", "30"), ["bb", "cc"]),
        (("--older-than", "0.5"), ["cc"]),
        (("--max-size", "2MB"), ["bb", "cc"]),
        (("--max-size", "500 kB"), ["cc"]),
        (("--max-size", "10GB"), ["aa", "bb", "cc"]),
        (("--all",), []),
    ],
)
def test_prune(
    capsys: pytest.CaptureFixture[str], root: Path, argv: tuple[str, ...], stay: list[str]
) -> None:
    lines = said(capsys, root, "prune", *argv)
    assert left(root) == stay
    assert len(lines) == 4 - len(stay)
    assert all(line.startswith("removed  ") for line in lines[:-1])


def test_what_somebody_writes_to_is_left_alone(capsys: pytest.CaptureFixture[str], root: Path) -> None:
    with shelf_lock(root / "features" / "aa"):
        said(capsys, root, "prune", "--all")
    assert left(root) == ["aa"]


def test_a_folder_of_others_is_left_alone(capsys: pytest.CaptureFixture[str], root: Path) -> None:
    stranger = root / "features" / "mine" / "notes.txt"
    stranger.parent.mkdir()
    stranger.write_text("keep")
    said(capsys, root, "prune", "--all")
    assert stranger.exists()


def test_a_shelf_whose_notes_are_broken_is_told_and_removed_like_others(
    capsys: pytest.CaptureFixture[str], root: Path
) -> None:
    (root / "features" / "cc" / "shelf.json").write_text("{")
    assert said(capsys, root, "info")[1].split()[:3] == ["?", "?", "30"]
    said(capsys, root, "prune", "--all")
    assert left(root) == []


@pytest.mark.parametrize(
    ("argv", "told"),
    [
        ((), "required: info | prune"),
        (("prune",), "one of the arguments --older-than --max-size --all is required"),
        (("prune", "--max-size", "10"), "'10' is no size, such as 500MB or 10GB"),
        (("prune", "--older-than", "-1d"), "expected one argument"),
        (("prune", "--older-than", "week"), "'week' is no number of days, such as 30"),
        (("prune", "--all", "--max-size", "1GB"), "not allowed with"),
    ],
)
def test_what_cannot_be_right(capsys: pytest.CaptureFixture[str], argv: tuple[str, ...], told: str) -> None:
    assert main(["cache", *argv]) == 2
    assert told in capsys.readouterr().err


def test_the_cache_folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    from matrixhub.data.cache import default_cache_dir

    monkeypatch.delenv("MATRIXHUB_CACHE", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert default_cache_dir() == tmp_path / "matrixhub"
    monkeypatch.setenv("MATRIXHUB_CACHE", str(tmp_path / "mine"))
    assert default_cache_dir() == tmp_path / "mine"
