"""``matrixhub COMMAND``: one parser, one place where errors become a message and an exit code."""

import argparse
import importlib
import os
import re
import sys
from collections.abc import Sequence
from typing import NoReturn

from matrixhub import __version__
from matrixhub.errors import MatrixHubError, unknown_name

COMMANDS = {
    "run": "train and evaluate what the config names",
    "plan": "show what run would do, without doing it",
    "predict": "answer the rows of a file with a trained product",
    "evaluate": "score a trained product on the rows of a file",
    "report": "the report of a run, or several runs compared",
    "list": "installed components",
    "show": "one component and its options, or a config and where its values came from",
    "plugin": "plugins: installed ones, their faults, and what their authors need",
    "cache": "what the feature store holds, and how to make room",
    "doctor": "versions, devices, plugins and their faults, what to do",
    "completion": "a script for your shell: completes commands, groups, options and keys",
}

ABOUT = """\
MatrixHub: one hub, many products. Train many AI products from few big models; what two products
share is computed once. (Not the self-hosted model registry of the same name.)
"""

FIRST_STEPS = """\
first steps:
  matrixhub run matrix=demo                        the packaged products, trained and scored
  matrixhub run product=text product.source.path=tickets.csv   your own table
  matrixhub COMMAND --help                         everything a command takes
"""


class Parser(argparse.ArgumentParser):
    """argparse, whose errors are one line with a suggestion."""

    def error(self, message: str) -> NoReturn:
        if (found := re.match(r"unrecognized arguments: (-\S+)", message)) is not None:
            flag = found[1].partition("=")[0]
            raise UsageError(
                unknown_name("option", flag, self._option_string_actions, f"See: {self.prog} --help")
            )
        raise UsageError(f"{message}. See: {self.prog} --help")


class UsageError(MatrixHubError):
    """A command line that cannot be parsed."""

    exit_code = 2


def entry() -> NoReturn:
    """What the ``matrixhub`` script runs."""
    sys.exit(main(sys.argv[1:]))


def main(argv: Sequence[str]) -> int:
    """Run one command.

    Returns:
        0 when all went well, 1 when something failed, 2 for bad input.
    """
    try:
        code = _dispatch(list(argv))
        sys.stdout.flush()
        return code
    except MatrixHubError as error:
        print(f"matrixhub: {error}", file=sys.stderr)
        return error.exit_code
    except BrokenPipeError:
        # The reader (head, less) has gone: nothing is wrong, nothing more can be written.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except KeyboardInterrupt:
        on = "; finished cells are kept, the same command goes on" if list(argv[:1]) == ["run"] else ""
        print(f"matrixhub: interrupted{on}", file=sys.stderr)
        return 130


def _dispatch(argv: list[str]) -> int:
    if not argv or argv[0] in ("-h", "--help"):
        print(help_text())
        return 0 if argv else 2
    if argv[0] in ("-V", "--version"):
        print(f"matrixhub {__version__}")
        return 0
    command, rest = argv[0], argv[1:]
    if command in COMMANDS:
        # One module a command, so that --help never pays for another's imports.
        module = importlib.import_module(f"matrixhub.cli.{command}")
        code: int = module.main(rest)
        return code
    extra = plugin_commands()
    if command in extra:
        return extra[command].call(rest)
    from matrixhub.plugins import hub

    if absent := hub().absent("command", command):
        raise UsageError(unknown_name("command", command, (), absent))
    raise UsageError(unknown_name("command", command, [*COMMANDS, *extra], "See: matrixhub --help"))


def plugin_commands() -> dict[str, "PluginCommand"]:
    """Commands that plugins add."""
    from matrixhub.plugins import hub

    group = CommandGroup()
    hub().call("matrixhub_cli", group=group)
    return group.commands


class PluginCommand:
    """A plugin's command, imported when it is called."""

    def __init__(self, target: str, help: str) -> None:  # noqa: A002
        self.target, self.help = target, help

    def call(self, argv: list[str]) -> int:
        """Run it."""
        module, _, function = self.target.partition(":")
        return int(getattr(importlib.import_module(module), function)(argv) or 0)


class CommandGroup:
    """What ``matrixhub_cli`` hooks add commands to."""

    def __init__(self) -> None:
        self.commands: dict[str, PluginCommand] = {}

    def add(self, name: str, target: str, *, help: str = "") -> None:  # noqa: A002
        """Add ``matrixhub NAME``; ``target`` is ``"pkg.module:function"`` taking a list of arguments."""
        if name in COMMANDS or name in self.commands:
            raise MatrixHubError(f"The command '{name}' is taken.")
        self.commands[name] = PluginCommand(target, help)


def help_text() -> str:
    """The page of ``matrixhub --help``, plugins' commands last."""
    commands = COMMANDS | {name: extra.help for name, extra in plugin_commands().items()}
    width = max(len(name) for name in commands)
    lines = [f"  {name:<{width}}  {text}" for name, text in commands.items()]
    return "\n".join(
        [ABOUT, "usage: matrixhub COMMAND ...", "", "commands:", *lines, "", FIRST_STEPS]
    ).rstrip()
