"""``matrixhub completion SHELL``: prints a script; the script asks back what may be typed next."""

import itertools
import os
from collections.abc import Sequence
from pathlib import Path

from matrixhub.cli.main import COMMANDS, Parser
from matrixhub.cli.plugin import COMMANDS as PLUGIN_COMMANDS

COMPOSING = ("run", "plan")
CACHE = {"info": ("--cache-dir", "--json"), "prune": ("--all", "--cache-dir", "--max-size", "--older-than")}
REPORT_FLAGS = ("--json", "--output")
FLAGS = ("--config-dir", "--help", "--multirun")

BASH = """\
_matrixhub() {
    local IFS=$'\\n'
    COMPREPLY=($(MATRIXHUB_LINE="${COMP_LINE:0:$COMP_POINT}" matrixhub completion query 2>/dev/null))
    # Bash takes '=' for the end of a word: give it only what comes after.
    local word="${COMP_LINE:0:$COMP_POINT}"; word="${word##* }"
    if [[ "$word" == *=* && "$COMP_WORDBREAKS" == *=* ]]; then
        COMPREPLY=("${COMPREPLY[@]#${word%=*}=}")
    fi
    [[ "${COMPREPLY[0]}" == *[=./] ]] && compopt -o nospace
}
complete -o default -F _matrixhub matrixhub
"""

ZSH = """\
_matrixhub() {
    local -a found
    found=("${(@f)$(MATRIXHUB_LINE="${BUFFER[1,$CURSOR]}" matrixhub completion query 2>/dev/null)}")
    compadd -S '' -a found
}
compdef _matrixhub matrixhub
"""

FISH = """\
complete -c matrixhub -f -a '(MATRIXHUB_LINE=(commandline -cp) matrixhub completion query 2>/dev/null)'
"""

SCRIPTS = {"bash": BASH, "zsh": ZSH, "fish": FISH}


def main(argv: Sequence[str]) -> int:
    """Print the script of a shell, or (``query``) what completes ``MATRIXHUB_LINE``."""
    parser = Parser(
        prog="matrixhub completion",
        description='Shell completion. For bash: eval "$(matrixhub completion bash)" in ~/.bashrc',
    )
    parser.add_argument("shell", choices=[*SCRIPTS, "query"], metavar="SHELL", help=", ".join(SCRIPTS))
    shell = parser.parse_args(argv).shell
    if shell != "query":
        print(SCRIPTS[shell], end="")
        return 0
    print("\n".join(complete(os.environ.get("MATRIXHUB_LINE", ""))))
    return 0


def complete(line: str) -> list[str]:
    """What may stand at the end of a command line that begins with ``matrixhub``."""
    _, _, rest = line.lstrip().partition(" ")
    command, space, overrides = rest.lstrip().partition(" ")
    if not space:
        return [name for name in COMMANDS if name.startswith(command)]
    if command in COMPOSING:
        return _overrides(overrides)
    *before, last = overrides.split(" ")
    if command == "cache":
        return [name for name in (CACHE.get(before[0], ()) if before else CACHE) if name.startswith(last)]
    if command == "plugin" and not before:
        return [name for name in PLUGIN_COMMANDS if name.startswith(last)]
    if command == "report" and last.startswith("-"):  # the shell completes folders
        return [flag for flag in REPORT_FLAGS if flag.startswith(last)]
    if command in ("list", "show"):
        from matrixhub.plugins import hub
        from matrixhub.registry import KINDS

        names = KINDS if command == "list" else [c.name for c in hub().registry.of_kind()]
        return [name for name in names if name.startswith(last)]
    return []


def _overrides(line: str) -> list[str]:
    """Flags, groups, options and keys that the last word may become."""
    *before, last = line.split(" ")
    if before and before[-1] == "--config-dir":
        return []  # the shell completes folders
    if last.startswith("-"):
        return [flag for flag in FLAGS if flag.startswith(last)]
    folders = [Path(after) for word, after in itertools.pairwise(before) if word == "--config-dir"]
    words = [word for word in before if word and not word.startswith("-") and Path(word) not in folders]
    if not any(word.startswith("product=") for word in [*words, last]):
        words.insert(0, "product=text")  # keys are known only once everything is chosen
    # Of the values of a sweep, the one behind the last comma.
    key, equals, values = last.partition("=")
    done, comma, piece = values.rpartition(",")
    found = _query(words, f"{key}{equals}{piece}", [folder for folder in folders if folder.is_dir()])
    return [match.replace("=", f"={done}{comma}", 1) for match in found]


def _query(words: list[str], last: str, folders: list[Path]) -> list[str]:
    """What Hydra's own completion finds, and what it leaves out of a group that holds another one."""
    from hydra.core.object_type import ObjectType
    from hydra.plugins.completion_plugin import DefaultCompletionPlugin

    from matrixhub.config.compose import CONFIG_NAME, Composer

    composer = Composer(folders)
    with composer.explained([]):
        plugin = DefaultCompletionPlugin(composer.loader)
        found = plugin._query(config_name=CONFIG_NAME, line=" ".join([*words, last]))
        nested = {match for match in found if match.isidentifier()}
        options = {m for m in nested if composer.loader.get_group_options(m, ObjectType.CONFIG)}
    matches = {match for match in found if match not in nested}
    matches |= {f"{match}=" for match in options} | {f"{match}/" for match in nested}
    return sorted(match for match in matches if not match.lstrip("+~").startswith("hydra"))
