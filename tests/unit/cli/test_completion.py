"""What Tab offers: commands, groups, options, keys; asked directly and through a real bash."""

import subprocess
from pathlib import Path

import pytest

from matrixhub.cli.completion import SCRIPTS, complete
from matrixhub.cli.main import COMMANDS, main
from tests.command import SCRIPT, environment


@pytest.mark.parametrize(
    ("line", "offered"),
    [
        ("matrixhub pl", ["plan", "plugin"]),
        ("matrixhub p", ["plan", "predict", "plugin"]),
        ("matrixhub run produ", ["product.", "product/", "product="]),
        ("matrixhub run product=to", ["product=toy"]),
        ("matrixhub run product/source=to", ["product/source=toy"]),
        ("matrixhub run encod", ["encode.", "encoder.", "encoder/"]),
        ("matrixhub run encoder/te", ["encoder/text="]),
        ("matrixhub run encoder/text=ha", ["encoder/text=hash", "encoder/text=hash_text"]),
        ("matrixhub plan product=toy head=ml", ["head=mlp"]),
        ("matrixhub run -m product=toy head=linear,ml", ["head=linear,mlp"]),
        ("matrixhub run trainer.epo", ["trainer.epochs="]),
        ("matrixhub run trainer=f", ["trainer=finetune", "trainer=frozen"]),
        ("matrixhub run product=toy encoder/text=hash encoder.text.buc", ["encoder.text.buckets="]),
        ("matrixhub run product=toy product.source.ro", ["product.source.rows="]),
        ("matrixhub run ~fus", ["~fusion"]),
        ("matrixhub run --m", ["--multirun"]),
        ("matrixhub run --config-dir ", []),
        ("matrixhub list enc", ["encoder"]),
        ("matrixhub show heads.l", ["heads.linear"]),
        ("matrixhub cache pr", ["prune"]),
        ("matrixhub plugin li", ["list"]),
        ("matrixhub cache prune --m", ["--max-size"]),
        ("matrixhub predict some", []),
        ("matrixhub run trainer.zzz", []),
    ],
)
def test_offers(line: str, offered: list[str]) -> None:
    assert complete(line) == offered


def test_every_command_is_offered() -> None:
    assert complete("matrixhub ") == list(COMMANDS)


def test_ones_own_folder_is_looked_into(tmp_path: Path) -> None:
    (tmp_path / "product").mkdir()
    (tmp_path / "product" / "mine.yaml").write_text("defaults: [toy, _self_]\n")
    assert complete(f"matrixhub run --config-dir {tmp_path} product=mi") == ["product=mine"]
    assert complete(f"matrixhub run --config-dir {tmp_path} product=mine trainer.ep") == ["trainer.epochs="]


@pytest.mark.parametrize("shell", SCRIPTS)
def test_scripts(shell: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["completion", shell]) == 0
    script = capsys.readouterr().out
    assert script == SCRIPTS[shell]
    assert "matrixhub completion query" in script


def test_an_unknown_shell_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["completion", "tcsh"]) == 2
    assert "bash" in capsys.readouterr().err


def test_no_completion_for_a_line_that_cannot_be_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MATRIXHUB_LINE", "matrixhub run trainer.lr=[ head=")
    assert main(["completion", "query"]) in (0, 2)


BASH = """
eval "$(matrixhub completion bash)"
COMP_LINE="$1"; COMP_POINT=${#1}
complete -p matrixhub >/dev/null || exit 9
compopt() { echo compopt "$@"; }
_matrixhub
printf '%s\\n' "${COMPREPLY[@]}"
"""


@pytest.mark.parametrize(
    ("line", "reply"),
    [
        ("matrixhub doc", ["doctor"]),
        # Bash takes '=' for the end of a word, so only what comes after it is replied.
        ("matrixhub run encoder/text=ha", ["hash", "hash_text"]),
        ("matrixhub run -m head=linear,ml", ["linear,mlp"]),
        # No space after what is to be typed on.
        ("matrixhub run trainer.epo", ["compopt -o nospace", "trainer.epochs="]),
    ],
)
def test_in_a_real_bash(line: str, reply: list[str]) -> None:
    path = f"{SCRIPT.parent}:{environment()['PATH']}"
    done = subprocess.run(
        ["bash", "--norc", "-c", BASH, "bash", line],
        env=environment(PATH=path),
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.splitlines() == reply
