"""A pre-training from options to an encoder's folder."""

import dataclasses
import json
import os
import shutil
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from accelerate import Accelerator
from accelerate.state import AcceleratorState
from accelerate.utils import DistributedDataParallelKwargs
from numpy.typing import NDArray

from matrixhub import ConfigError, DataError
from matrixhub_pretraining import checkpoint
from matrixhub_pretraining.batches import HELD_OUT, Maker, Making, Marks, marks_of
from matrixhub_pretraining.corpus import Corpus
from matrixhub_pretraining.examples import RANDOM
from matrixhub_pretraining.image_model import (
    MaskedImages,
    new_encoder,
    typical_patches,
    without_a_model,
)
from matrixhub_pretraining.images import ImageMaker, read_images
from matrixhub_pretraining.loop import Loop, OnFigures, State, head_steps
from matrixhub_pretraining.model import (
    Model,
    know_frequencies,
    load_model,
    load_tokenizer,
    new_model,
)
from matrixhub_pretraining.options import PretrainConfig
from matrixhub_pretraining.tokens import Tokens, tokenize
from matrixhub_pretraining.vocabulary import train_tokenizer

RECORD = "pretraining.json"
_TYPICAL = 256
"""Training images whose typical patch the model begins with."""
_FREE = (
    "output",
    "trainer.cpu",
    "trainer.evaluate_every",
    "trainer.evaluate_examples",
    "trainer.checkpoint_every",
    "launch.num_processes",
)


def pretrain(
    options: PretrainConfig,
    *,
    say: Callable[[str], None] = lambda line: None,
    on_figures: OnFigures = lambda figures: None,
    on_step: Callable[[int], None] = lambda step: None,
) -> dict[str, Any]:
    """Train, or go on where an earlier call with the same options was ended, and write ``options.output``.

    Args:
        options: as ``matrixhub_pretraining.options.compose`` makes them.
        say: told in a sentence what was found and what is done.
        on_figures: told each look at the held-out documents.
        on_step: told each step that is done.

    Returns:
        What stands in ``pretraining.json`` of the output: options, corpus, history and final figures.

    Raises:
        ConfigError, DataError, CheckpointError: options, texts or a checkpoint that cannot be right.
        TrainingError: the loss is not a finite number.
    """
    output = Path(options.output).expanduser()
    if output.exists():
        raise ConfigError(f"output={options.output} exists: choose another folder, or delete it.")
    work = output.with_name(f".{output.name}.training")
    AcceleratorState._reset_state()
    accelerator = Accelerator(
        # Without an accelerator it has to be said, or each process takes itself for the only one.
        cpu=options.trainer.cpu or not torch.accelerator.is_available(),
        mixed_precision=options.trainer.mixed_precision,
        # While the head goes first, the encoder has no gradients to be waited for.
        # Nor have layers of an image encoder that pool its tokens.
        kwargs_handlers=[DistributedDataParallelKwargs(find_unused_parameters=_has_idle(options))],
    )
    prepared = _of_images(options, say) if options.of_images else _of_texts(options, work, accelerator, say)
    _same_as_before(options, prepared.digest, work, accelerator)
    if before := checkpoint.newest(work):
        say(f"going on from step {checkpoint.step_of(before):,}, the last that was kept")
    loop = Loop(
        model=prepared.model.to(accelerator.device),
        train=prepared.train,
        held_out=prepared.held_out,
        options=options,
        accelerator=accelerator,
        work=work,
        on_figures=on_figures,
        on_step=on_step,
    )
    started = time.perf_counter()
    state = loop.run()
    record = _record(options, prepared, state, time.perf_counter() - started)
    if accelerator.is_main_process:
        _write(output, work, prepared, record)
    accelerator.wait_for_everyone()
    return record


@dataclass(frozen=True, slots=True)
class Prepared:
    """All that training needs.

    Attributes:
        tokenizer: of transformers; None with images.
        model: with the weights to begin with.
        train, held_out: what makes batches of either side.
        facts: of the corpus, for the record.
        digest: of documents and tokenizer, or images.
    """

    tokenizer: Any
    model: Model
    train: Making
    held_out: Making | None
    facts: dict[str, Any]
    digest: str


def _tokenizer(options: PretrainConfig, corpus: Corpus, work: Path, accelerator: Accelerator) -> Any:
    """The checkpoint's, or one trained by the main process and read by all."""
    if options.init is not None:
        return load_tokenizer(options.init)
    folder = work / "tokenizer"
    # One that no checkpoint was trained with may be of other options, or other texts.
    if accelerator.is_main_process and checkpoint.newest(work) is None:
        shutil.rmtree(folder, ignore_errors=True)
        trained = train_tokenizer(
            corpus.training_sentences, options.tokenizer, max_length=options.objective.max_length
        )
        staging = work / ".tokenizer"
        shutil.rmtree(staging, ignore_errors=True)
        trained.save_pretrained(staging)
        checkpoint.publish(staging, folder)
    accelerator.wait_for_everyone()
    return load_tokenizer(folder)


def _has_idle(options: PretrainConfig) -> bool:
    return options.of_images or head_steps(options.trainer) > 0


def _of_images(options: PretrainConfig, say: Callable[[str], None]) -> Prepared:
    train, held_out, digest = read_images(options.images)
    encoder, grid = new_encoder(options)
    makers = [ImageMaker(side, encoder.processor, grid, options) for side in (train, held_out)]
    typical = typical_patches(makers[0], _TYPICAL)
    torch.manual_seed(options.trainer.seed)
    model = MaskedImages(encoder, grid, typical[0], new_head=options.init is not None)
    facts: dict[str, Any] = {"images": len(train.values), "held_out_images": len(held_out.values)}
    if held_out.values:
        facts |= without_a_model(makers[1], typical)
    say(
        f"{len(train.values):,} images, {len(held_out.values):,} held out; {grid.num} x {grid.num} patches of"
        f" {grid.patch} pixels, {_num_parameters(model):,} parameters"
    )
    return Prepared(None, model, makers[0], makers[1] if held_out.values else None, facts, digest)


def _num_parameters(model: Model) -> int:
    return sum(parameter.numel() for parameter in model.parameters())


def _of_texts(
    options: PretrainConfig, work: Path, accelerator: Accelerator, say: Callable[[str], None]
) -> Prepared:
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "true")
    corpus = Corpus(options.corpus)
    tokenizer = _tokenizer(options, corpus, work, accelerator)
    marks = marks_of(tokenizer)
    if not len(marks.ordinary):
        raise DataError("The texts hold nothing that a vocabulary can be made of.")
    train, held_out, digest = tokenize(corpus, tokenizer)
    for side, tokens in (("train", train), ("held out", held_out)):
        if options.pairs and len(tokens) == 1:
            raise DataError(
                f"There is one document ({side}), and pairs need two: give more documents (in a text file,"
                " blank lines separate them), or objective.next_sentence=false."
            )
    model = new_model(options, tokenizer) if options.init is None else load_model(options, tokenizer)
    if options.init is None or model.new_head:
        know_frequencies(model, np.bincount(train.ids, minlength=len(tokenizer)))
    facts = {"vocabulary": len(tokenizer), **_facts(options, train, held_out, marks)}
    say(
        f"{len(train):,} documents of {len(train.ids):,} tokens, {len(held_out):,} documents held out;"
        f" {len(tokenizer):,} pieces, {_num_parameters(model):,} parameters"
    )
    makers = [Maker(tokens, marks, options) if len(tokens) else None for tokens in (train, held_out)]
    assert makers[0] is not None
    return Prepared(tokenizer, model, makers[0], makers[1], facts, digest)


def _facts(options: PretrainConfig, train: Tokens, held_out: Tokens, marks: Marks) -> dict[str, Any]:
    """Numbers of the corpus, and what a model that knows nothing but frequencies would reach."""
    facts: dict[str, Any] = {
        "documents": len(train),
        "tokens": len(train.ids),
        "held_out_documents": len(held_out),
        "held_out_tokens": len(held_out.ids),
    }
    if len(held_out):
        facts["unigram_entropy"] = entropy(np.bincount(held_out.ids))
        if options.pairs:
            examples = Maker(held_out, marks, options).examples(HELD_OUT)
            random = float(examples[: options.trainer.evaluate_examples, RANDOM].mean())
            facts["nsp_majority"] = max(random, 1 - random)
    return facts


def entropy(counts: NDArray[np.int64]) -> float:
    """Of the distribution of counts, in nats: the least loss of whoever knows frequencies only."""
    shares = counts[counts > 0] / counts.sum()
    return float(-(shares * np.log(shares)).sum())


def _same_as_before(options: PretrainConfig, digest: str, work: Path, accelerator: Accelerator) -> None:
    """Refuse to go on with other options or texts than those of the folder's checkpoints."""
    flat = _flat(options)
    file = work / "begun.json"
    if checkpoint.newest(work) is not None:
        begun = json.loads(file.read_text("utf-8"))
        changed = [key for key, value in flat.items() if begun["options"].get(key) != value]
        if begun["digest"] != digest:
            changed.append("the images" if options.of_images else "the texts")
        if changed:
            raise ConfigError(
                f"An unfinished pre-training of output={options.output} differs in {', '.join(changed)}: give"
                f" it the same, or choose another output, or delete {work} to begin anew."
            )
    elif accelerator.is_main_process:
        work.mkdir(parents=True, exist_ok=True)
        file.write_text(json.dumps({"options": flat, "digest": digest}), "utf-8")
    accelerator.wait_for_everyone()


def _flat(options: PretrainConfig) -> dict[str, Any]:
    """Options by dotted key, but for those that change nothing of what is learned."""
    found: dict[str, Any] = {}
    for key, value in dataclasses.asdict(options).items():
        found |= {f"{key}.{k}": v for k, v in value.items()} if isinstance(value, dict) else {key: value}
    return {key: value for key, value in found.items() if key not in _FREE}


def _record(options: PretrainConfig, prepared: Prepared, state: State, seconds: float) -> dict[str, Any]:
    return {
        "options": dataclasses.asdict(options),
        "corpus": prepared.facts,
        "history": state.history,
        "final": state.history[-1],
        "seconds": seconds,
    }


def _write(output: Path, work: Path, prepared: Prepared, record: dict[str, Any]) -> None:
    """The folder of the encoder, complete or not there."""
    staging = work / ".output"
    shutil.rmtree(staging, ignore_errors=True)
    prepared.model.save(staging)
    if prepared.tokenizer is not None:
        prepared.tokenizer.save_pretrained(staging)
    (staging / RECORD).write_text(json.dumps(record, indent=1) + "\n", "utf-8")
    checkpoint.publish(staging, output)
    shutil.rmtree(work)
