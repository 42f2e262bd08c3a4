"""Progress: a moving line with rate, loss and time left on a terminal, and quiet elsewhere."""

import os
import pty
import re
import select
import subprocess
from pathlib import Path

import pytest

from tests.command import SCRIPT, command, environment
from tests.toys import FAST, toy_options, write_products

LONG_ENOUGH = ("product=colour", *FAST, "trainer.epochs=150", "trainer.patience=null", "baseline=false")


def options(folder: Path) -> list[str]:
    return ["run", "--config-dir", str(write_products(folder / "conf")), *toy_options(folder), *LONG_ENOUGH]


def test_it_is_quiet_where_nobody_watches(tmp_path: Path) -> None:
    done = command(*options(tmp_path))
    assert done.returncode == 0, done.stderr
    assert "\r" not in done.stderr + done.stdout
    assert "\x1b" not in done.stderr + done.stdout
    begins, encoded = done.stderr.splitlines()
    assert re.fullmatch(r"1 cell in 4 stages, into \S+/runs/[\d_-]+", begins)
    assert re.fullmatch(r"encoded hash over fixture\.toy\.text: 300 rows in [\d.]+ s", encoded)


def on_a_terminal(argv: list[str]) -> str:
    """What a command writes on stderr when that is a terminal."""
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        [str(SCRIPT), *argv],
        stdout=subprocess.DEVNULL,
        stderr=theirs,
        env=environment(TERM="xterm", COLUMNS="140"),
    )
    os.close(theirs)
    seen = b""
    while True:
        ready, _, _ = select.select([ours], [], [], 120)
        try:
            block = os.read(ours, 65536) if ready else b""
        except OSError:  # how Linux says that the other side is closed
            block = b""
        if not block:
            break
        seen += block
    os.close(ours)
    assert process.wait(60) == 0, seen.decode()
    return seen.decode()


@pytest.mark.skipif(not hasattr(os, "openpty"), reason="needs a pseudo-terminal")
def test_a_terminal_shows_rate_loss_and_time_left(tmp_path: Path) -> None:
    text = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", on_a_terminal(options(tmp_path)))
    assert "loading fixture.hash_text" in text
    assert "train colour-hash-linear" in text
    assert "/1050" in text
    assert re.search(r"\d+ steps/s", text)
    assert re.search(r"loss \d+\.\d{4}", text)
    assert re.search(r"0:00:\d\d 0:00:\d\d", text), "time gone and time left"
    assert "\r" in text
