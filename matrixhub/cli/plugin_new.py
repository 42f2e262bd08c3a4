"""``matrixhub plugin new``: a whole package to start a plugin from."""

import shlex
from collections.abc import Sequence
from pathlib import Path

from matrixhub.cli.main import Parser
from matrixhub.registry import KINDS
from matrixhub.scaffold import TEXT, check_free, names_of, render, write

ABOUT = "Write a whole package: a working component of one kind, its options, its tests, all that pip needs."


def main(argv: Sequence[str]) -> int:
    """Write the files and say what to type next."""
    parser = Parser(prog="matrixhub plugin new", description=ABOUT)
    parser.add_argument("name", metavar="NAME", help="what pip calls it, such as acme or acme-words")
    parser.add_argument("--kind", metavar="KIND", help=", ".join(KINDS))
    parser.add_argument(
        "--modality", help=f"what an encoder reads: {TEXT} (the default), image, or one of your own"
    )
    parser.add_argument("--namespace", help="in front of its components' names; NAME unless given")
    parser.add_argument(
        "--output", type=Path, metavar="DIR", help="new or empty folder to write into; NAME unless given"
    )
    args = parser.parse_args(argv)
    if args.kind is None:  # not left to the parser, which would not see a misspelt --kind
        parser.error(f"Say what it offers: --kind with one of {', '.join(KINDS)}")
    names = names_of(args.name, args.namespace)
    files = render(names, kind=args.kind, modality=args.modality)
    check_free(names)
    folder = args.output or Path(args.name)
    write(folder, files)
    for place in files:
        print(folder / place)
    print(f"Next: cd {shlex.quote(str(folder))} && pip install -e . pytest && pytest")
    return 0
