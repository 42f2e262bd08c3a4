"""Reliability rows 8 and 9: an artifact is there as a whole or not at all, whatever happens to its writer."""

import errno
import fcntl
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from matrixhub.artifacts import folder as folder_module
from matrixhub.artifacts.folder import link_or_copy, read_manifest, remove_stale, write_artifact
from matrixhub.errors import ArtifactError, ConfigError

SIZE = 20_000


def save(folder: Path, version: int, *, replace: bool = False) -> None:
    """An artifact whose every file tells its version."""

    def write(staging: Path) -> None:
        (staging / "encoders/text").mkdir(parents=True)
        (staging / "encoders/text/model.safetensors").write_bytes(bytes([version % 256]) * SIZE)
        (staging / "config.json").write_text(str(version))

    write_artifact(folder, {"version": version}, write, replace=replace)


def version_of(folder: Path) -> int:
    version = int(read_manifest(folder)["version"])
    assert (folder / "encoders/text/model.safetensors").read_bytes() == bytes([version % 256]) * SIZE
    assert (folder / "config.json").read_text() == str(version)
    return version


def entries(parent: Path) -> list[str]:
    return sorted(path.name for path in parent.iterdir())


def test_an_existing_artifact_is_replaced_only_on_purpose(tmp_path: Path) -> None:
    folder = tmp_path / "run" / "news"
    save(folder, 1)
    with pytest.raises(ArtifactError, match=r"news.*replace"):
        save(folder, 2)
    assert version_of(folder) == 1
    save(folder, 3, replace=True)
    assert version_of(folder) == 3
    assert entries(folder.parent) == ["news"]


def test_only_an_artifact_is_ever_replaced(tmp_path: Path) -> None:
    precious = tmp_path / "home" / "thesis.txt"
    precious.parent.mkdir()
    precious.write_text("42")
    (tmp_path / "link").symlink_to(precious.parent)
    for folder in (precious.parent, precious, tmp_path / "link"):
        with pytest.raises(ArtifactError, match="not an artifact"):
            save(folder, 1, replace=True)
    assert precious.read_text() == "42"


def test_replacing_without_an_exchange_of_names(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "news"
    save(folder, 1)
    monkeypatch.setattr(folder_module, "_exchange", lambda *_: False)
    save(folder, 2, replace=True)
    assert version_of(folder) == 2
    assert entries(tmp_path) == ["news"]

    rename = Path.rename

    def failing(path: Path, target: Path) -> Path:
        if "staging" in path.name:
            raise OSError(errno.EIO, "broken disk")
        return rename(path, target)

    monkeypatch.setattr(Path, "rename", failing)
    with pytest.raises(ArtifactError, match="broken disk"):
        save(folder, 3, replace=True)
    assert version_of(folder) == 2

    folder.rename(tmp_path / ".news.previous")  # what a kill between the two renames leaves
    with pytest.raises(ArtifactError, match=r"interrupted: rename .*\.news\.previous"):
        read_manifest(folder)


def test_an_exchange_of_names_is_what_happens_here(tmp_path: Path) -> None:
    first, second = tmp_path / "a", tmp_path / "b"
    first.mkdir()
    second.mkdir()
    (first / "was_a").touch()
    assert folder_module._exchange(first, second)
    assert (second / "was_a").exists()
    with pytest.raises(OSError, match="nothing"):
        folder_module._exchange(first, tmp_path / "nothing")


def test_everything_is_on_the_disk_before_it_has_its_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    synced: dict[str, bool] = {}
    folder = tmp_path / "news"
    fsync = os.fsync

    def recording(handle: int) -> None:
        synced[Path(f"/proc/self/fd/{handle}").readlink().name] = folder.exists()
        fsync(handle)

    monkeypatch.setattr(os, "fsync", recording)
    save(folder, 1)
    named = [name for name, visible in synced.items() if visible]
    assert named == [tmp_path.name]
    assert len(synced) == 7  # three files, three folders, the parent
    assert {"manifest.json", "model.safetensors", "config.json", "encoders", "text"} < synced.keys()


def test_a_writer_that_fails_leaves_nothing(tmp_path: Path) -> None:
    def write(staging: Path) -> None:
        (staging / "half.txt").write_text("half")
        raise RuntimeError("No space left on device (os error 28)")

    with pytest.raises(ArtifactError, match=r"news.*disk is full"):
        write_artifact(tmp_path / "news", {}, write)
    assert entries(tmp_path) == []


def test_our_other_errors_pass_as_they_are(tmp_path: Path) -> None:
    def write(staging: Path) -> None:
        raise ConfigError("not an artifact's fault")

    with pytest.raises(ConfigError, match=r"^not an artifact's fault$"):
        write_artifact(tmp_path / "news", {}, write)


def test_stale_staging_is_removed_and_a_writer_at_work_is_not(tmp_path: Path) -> None:
    stale = tmp_path / f".matrixhub-staging-{'0' * 16}"
    (stale / "encoders").mkdir(parents=True)
    other = tmp_path / ".matrixhub-staging-notes"
    other.mkdir()

    def write(staging: Path) -> None:
        assert not stale.exists()
        remove_stale(tmp_path)
        save(tmp_path / "other", 2)
        (staging / "still_here.txt").write_text("")

    write_artifact(tmp_path / "news", {}, write)
    read_manifest(tmp_path / "news")
    assert version_of(tmp_path / "other") == 2
    assert other.exists()


def test_saving_works_where_folders_cannot_be_locked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise OSError(errno.EBADF, "a network file system")

    stale = tmp_path / f".matrixhub-staging-{'0' * 16}"
    stale.mkdir()
    monkeypatch.setattr(fcntl, "flock", refuse)
    save(tmp_path / "news", 1)
    assert version_of(tmp_path / "news") == 1
    assert entries(tmp_path) == [stale.name, "news"]


def test_links_share_bytes_and_each_artifact_is_complete_alone(tmp_path: Path) -> None:
    source = tmp_path / "a" / "encoders/text/model.safetensors"
    save(tmp_path / "a", 1)

    def write(staging: Path) -> None:
        link_or_copy(source, staging / "encoders/text/model.safetensors")
        (staging / "config.json").write_text("1")

    write_artifact(tmp_path / "b", {"version": 1}, write)
    assert (tmp_path / "b" / "encoders/text/model.safetensors").samefile(source)
    save(tmp_path / "a", 2, replace=True)
    assert version_of(tmp_path / "b") == 1
    assert version_of(tmp_path / "a") == 2


def test_a_copy_where_links_do_not_work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = tmp_path / "source.txt"
    source.write_text("text")
    (tmp_path / "link.txt").symlink_to(source)
    link_or_copy(tmp_path / "link.txt", tmp_path / "linked.txt")
    assert not (tmp_path / "linked.txt").is_symlink()
    assert (tmp_path / "linked.txt").samefile(source)

    def refuse(*_: object) -> None:
        raise OSError(errno.EXDEV, "another disk")

    monkeypatch.setattr(os, "link", refuse)
    link_or_copy(source, tmp_path / "deep" / "copied.txt")
    assert (tmp_path / "deep" / "copied.txt").read_text() == "text"
    assert not (tmp_path / "deep" / "copied.txt").samefile(source)
    with pytest.raises(FileNotFoundError):
        link_or_copy(tmp_path / "nothing.txt", tmp_path / "x.txt")


# What the writer of the next tests runs: it is told apart from this process, which it must not take along.
SAVER = f"""
import itertools, os, signal, sys
from pathlib import Path
sys.path.insert(0, {str(Path(__file__).parent)!r})
from test_artifact_folder import *
parent = Path(sys.argv[1])
"""

LOOP = """
print("ready", flush=True)
for version in itertools.count(int(sys.argv[2])):
    save(parent / "latest", version, replace=True)
    save(parent / f"step-{version:06}", version)
    print(version, flush=True)
"""


def start(code: str, *args: object) -> "subprocess.Popen[str]":
    command = [sys.executable, "-c", SAVER + code, *map(str, args)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


@pytest.mark.parametrize("kills", [4, pytest.param(50, marks=pytest.mark.slow)])
def test_row_8_killed_at_random_moments(tmp_path: Path, kills: int) -> None:
    chance = random.Random(kills)
    saved = 0
    for _ in range(kills):
        with start(LOOP, tmp_path, saved + 1) as process:
            assert process.stdout is not None
            assert process.stdout.readline() == "ready\n"
            time.sleep(chance.uniform(0.0, 0.3))
            process.send_signal(signal.SIGKILL)
            reported = process.stdout.read().split()
        assert process.returncode == -signal.SIGKILL
        promised = int(reported[-1]) if reported else saved
        versions = {path.name: version_of(path) for path in tmp_path.iterdir() if path.name[0] != "."}
        latest = versions.pop("latest", 0)
        assert latest in (promised, promised + 1)
        assert not reported or f"step-{promised:06}" in versions
        assert max(versions.values(), default=0) <= latest
        saved = latest
    assert saved > 0
    save(tmp_path / "step-last", saved)
    assert not [name for name in entries(tmp_path) if name.startswith(".")]


STEPS = """
from matrixhub.errors import ArtifactError

def at(step, act, version):
    # Every touch of the file system counts: what Python audits, and each sync.
    seen = itertools.count()
    def touch(event, args):
        if event.startswith(("open", "os.", "fcntl.", "ctypes.dlsym")) and next(seen) == step:
            act()
    fsync = os.fsync
    os.fsync = lambda handle: (touch("os.fsync", ()), fsync(handle))
    sys.addaudithook(touch)
    try:
        save(parent / "latest", version, replace=True)
        os._exit(SAVED if next(seen) > step else UNTOUCHED)
    except ArtifactError as error:
        os._exit(REFUSED if "disk is full" in str(error) else 1)

def die():
    os.kill(os.getpid(), signal.SIGKILL)

def fill():
    raise OSError(28, "No space left on device")

KILLED, SAVED, REFUSED, UNTOUCHED = -9, 2, 3, 4
wanted = {"die": {KILLED}, "fill": {SAVED, REFUSED}}[sys.argv[2]]
version, changes = 1, []
save(parent / "latest", version)
for step in itertools.count():
    child = os.fork()
    if child == 0:
        at(step, {"die": die, "fill": fill}[sys.argv[2]], version + 1)
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    before, version = version, version_of(parent / "latest")
    changed = version - before
    assert changed in {KILLED: {0, 1}, REFUSED: {0}, SAVED: {1}, UNTOUCHED: {1}}[code], (step, code)
    assert code != REFUSED or entries(parent) == ["latest"], (step, code)
    if code == UNTOUCHED:
        break
    assert code in wanted, (step, code)
    changes.append(changed)
print(*changes)
"""


@pytest.mark.parametrize("act", ["die", "fill"])
def test_rows_8_and_9_killed_or_full_at_each_step(tmp_path: Path, act: str) -> None:
    with start(STEPS, tmp_path, act) as process:
        assert process.stdout is not None
        changes = process.stdout.read().split()
    assert process.returncode == 0
    assert len(changes) > 20
    assert set(changes) == {"0", "1"}
    assert entries(tmp_path) == ["latest"]


FULL = """
import resource
save(parent / "latest", 1)
resource.setrlimit(resource.RLIMIT_FSIZE, (SIZE // 2, SIZE // 2))
try:
    save(parent / "latest", 2, replace=True)
except ArtifactError as error:
    print(error)
"""


def test_row_9_no_room_for_a_file(tmp_path: Path) -> None:
    with start(FULL, tmp_path) as process:
        assert process.stdout is not None
        message = process.stdout.read()
    assert "File too large" in message
    assert "nothing was changed" in message
    assert version_of(tmp_path / "latest") == 1
    assert entries(tmp_path) == ["latest"]


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    disk = tmp_path / "disk"
    disk.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(disk)], capture_output=True, check=False
    )
    if mounted.returncode:
        pytest.skip("mounting needs root; the tests above simulate a full disk at every step")
    yield disk
    subprocess.run(["umount", str(disk)], check=True)


def test_row_9_a_full_disk(small_disk: Path) -> None:
    save(small_disk / "latest", 1)
    save(small_disk / "latest", 2, replace=True)
    (small_disk / "other.txt").write_bytes(b"x" * 20_000)
    with pytest.raises(ArtifactError, match="the disk is full"):
        save(small_disk / "latest", 3, replace=True)
    assert version_of(small_disk / "latest") == 2
    assert entries(small_disk) == ["latest", "other.txt"]
