"""``matrixhub`` itself: help, version, unknown commands, exit codes, readers that go away."""

import subprocess
from pathlib import Path

import pytest

import matrixhub as mh
from matrixhub.cli.main import COMMANDS, CommandGroup, main
from tests.command import SCRIPT, command
from tests.fixture_plugin.fake import WORKING, write_plugin

COMMAND = """
@hookimpl
def matrixhub_cli(group):
    group.add("greet", f"{__name__}:greet", help="say hello")

def greet(argv):
    print("hello", *argv)
    return 3 if "fail" in argv else None
"""


def test_help_names_every_command_and_what_to_type_first(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--help"]) == 0
    page = capsys.readouterr().out
    for name, text in COMMANDS.items():
        assert f"  {name} " in page
        assert text in page
    assert "matrixhub run matrix=demo" in page
    assert "Not the self-hosted model registry of the same name" in page
    assert max(map(len, page.splitlines())) <= 110


def test_no_command_shows_help_and_is_an_error(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([]) == 2
    assert "usage: matrixhub COMMAND" in capsys.readouterr().out


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--version"]) == 0
    assert capsys.readouterr().out == f"matrixhub {mh.__version__}\n"


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_has_help(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main([name, "--help"])
    assert ended.value.code == 0
    assert f"usage: matrixhub {name}" in capsys.readouterr().out


def test_the_installed_script_passes_the_exit_code_on() -> None:
    done = command("--version")
    assert (done.returncode, done.stdout, done.stderr) == (0, f"matrixhub {mh.__version__}\n", "")
    assert command("nonsense").returncode == 2


def test_a_plugin_adds_a_command(tmp_path: Path) -> None:
    write_plugin(tmp_path, "acme", WORKING + COMMAND)
    done = command("greet", "you", site=tmp_path)
    assert (done.returncode, done.stdout) == (0, "hello you\n"), done.stderr
    assert command("greet", "fail", site=tmp_path).returncode == 3
    unknown = command("gret", site=tmp_path)
    assert unknown.returncode == 2
    assert "Did you mean 'greet'" in unknown.stderr


def test_a_plugins_command_is_in_the_help(tmp_path: Path) -> None:
    write_plugin(tmp_path, "acme", WORKING + COMMAND)
    assert "say hello" in command("--help", site=tmp_path).stdout


def test_a_plugin_whose_command_hook_fails_costs_no_other(tmp_path: Path) -> None:
    write_plugin(tmp_path, "aa", WORKING + "@hookimpl\ndef matrixhub_cli(group):\n    raise OSError('no')\n")
    write_plugin(tmp_path, "bb", WORKING + COMMAND)
    assert command("greet", site=tmp_path).stdout == "hello\n"


def test_a_plugin_cannot_take_a_command() -> None:
    group = CommandGroup()
    group.add("greet", "acme:greet")
    for taken in ("run", "greet"):
        with pytest.raises(mh.MatrixHubError, match=f"'{taken}' is taken"):
            group.add(taken, "acme:other")


@pytest.mark.parametrize("argv", [("list",), ("plan", "product=toy", "--json"), ("--help",)])
def test_a_reader_that_goes_away_is_no_error(argv: tuple[str, ...]) -> None:
    process = subprocess.Popen([SCRIPT, *argv], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert process.stdout and process.stderr
    process.stdout.close()
    assert process.stderr.read() == b""
    process.stderr.close()
    assert process.wait() == 0
