"""Whole pre-trainings: what they leave, and that a kill, a second process or a restart changes nothing."""

import json
import re
import shlex
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import torch
from matrixhub_pretraining import loop
from matrixhub_pretraining.model import Pretraining
from matrixhub_pretraining.options import compose
from matrixhub_pretraining.pretrain import RECORD, pretrain
from PIL import Image
from safetensors.torch import load_file
from transformers import AutoModel, BertForPreTraining

from matrixhub import CheckpointError, ConfigError, DataError, TrainingError, create
from matrixhub.cli.main import main as cli

PAGE = Path(__file__).parents[3] / "docs" / "pretraining.md"
MATRIXHUB = [sys.executable, "-m", "matrixhub"]
COLOURS = ("red", "green", "blue", "yellow", "black", "white")
THINGS = ("house", "boat", "river", "engine", "garden", "letter")


@pytest.fixture(scope="session")
def texts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A text file of 60 documents of five sentences, each about one thing of one colour."""
    documents = []
    for i in range(60):
        colour, thing = COLOURS[i % 6], THINGS[i // 6 % 6]
        lines = [f"The {colour} {thing} number {i} is {word} and {colour}." for word in ("old", "big", "new")]
        documents.append("\n".join([*lines, f"Nobody saw {i} of these. Was it a {colour} {thing}?"]))
    path = tmp_path_factory.mktemp("texts") / "colours.txt"
    path.write_text("\n\n".join(documents), "utf-8")
    return path


@pytest.fixture
def words(texts: Path, tmp_path: Path) -> list[str]:
    """Overrides of a pre-training of eight steps."""
    return [
        f"output={tmp_path}/bert",
        f"corpus.path={texts}",
        "corpus.held_out=0.2",
        "tokenizer.vocab_size=300",
        "model.size=tiny",
        "model.width=16",
        "objective.max_length=32",
        "trainer.steps=8",
        "trainer.batch_size=8",
        "trainer.evaluate_every=4",
        "trainer.checkpoint_every=2",
        "trainer.cpu=true",
    ]


def weights(folder: Path | str) -> dict[str, torch.Tensor]:
    found: dict[str, torch.Tensor] = load_file(Path(folder) / "model.safetensors")
    return found


def same(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> bool:
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


def figures(record: dict[str, Any]) -> list[dict[str, float]]:
    return [{k: v for k, v in one.items() if k != "seconds"} for one in record["history"]]


def test_the_result_is_a_folder_of_transformers(words: list[str], tmp_path: Path) -> None:
    record = pretrain(compose([*words, "trainer.steps=60", "trainer.lr=0.003", "model.dropout=0"]))
    folder = tmp_path / "bert"
    assert {"config.json", "model.safetensors", "tokenizer.json", RECORD} <= {
        p.name for p in folder.iterdir()
    }
    assert [p.name for p in tmp_path.iterdir()] == ["bert"], "nothing else is left"
    assert record["corpus"]["documents"] + record["corpus"]["held_out_documents"] == 60
    assert record == json.loads((folder / RECORD).read_text())
    first, final = record["history"][0], record["final"]
    assert final["step"] == 60 and final["mlm_loss"] < first["mlm_loss"] - 0.1
    assert {"nsp_loss", "nsp_accuracy", "mlm_accuracy", "train_loss"} <= set(final)
    kept = BertForPreTraining.from_pretrained(folder)
    assert kept.cls.predictions.decoder.weight is kept.bert.embeddings.word_embeddings.weight
    encoder = create("encoder", "text.transformer", checkpoint=str(folder), max_length=32)
    model = AutoModel.from_pretrained(folder).eval()
    inputs = {"input_ids": torch.tensor([[2, 9, 10, 3]])}
    torch.testing.assert_close(encoder.model(**inputs)[0], model(**inputs)[0])


def test_what_was_ended_goes_on_to_the_same_weights(
    words: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = pretrain(compose([*words, f"output={tmp_path}/whole"]))
    real = loop.Loop._step

    def ended(self: Any, wrapped: Any, optimizer: Any, step: Any, number: int) -> Any:
        if number == 5:
            raise KeyboardInterrupt
        return real(self, wrapped, optimizer, step, number)

    with monkeypatch.context() as patched:
        patched.setattr(loop.Loop, "_step", ended)
        with pytest.raises(KeyboardInterrupt):
            pretrain(compose(words))
    work = tmp_path / ".bert.training"
    assert [p.name for p in work.glob("step-*")] == ["step-00000004"]
    assert not (tmp_path / "bert").exists()
    with pytest.raises(ConfigError, match=r"differs in trainer.lr, trainer.seed: give it the same"):
        pretrain(compose([*words, "trainer.seed=1", "trainer.lr=0.1"]))
    told: list[str] = []
    steps: list[int] = []
    rest = pretrain(compose(words), say=told.append, on_step=steps.append)
    assert "going on from step 4, the last that was kept" in told
    assert steps[0] == 5 and steps[-1] == rest["final"]["step"]
    assert same(weights(tmp_path / "whole"), weights(tmp_path / "bert"))
    assert figures(rest) == figures(whole)
    assert not work.exists()


def test_an_interrupted_command_says_that_it_goes_on(
    words: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def interrupted(*given: Any) -> Any:
        raise KeyboardInterrupt

    monkeypatch.setattr(loop.Loop, "_step", interrupted)
    assert cli(["pretrain", *words]) == 130
    assert "the same command goes on from there" in capsys.readouterr().err


@pytest.mark.slow
def test_a_killed_command_goes_on(words: list[str], tmp_path: Path) -> None:
    longer = [*words, "trainer.steps=400", "trainer.checkpoint_every=5", "trainer.evaluate_every=400"]
    pretrain(compose([*longer, f"output={tmp_path}/whole"]))
    started = subprocess.Popen([*MATRIXHUB, "pretrain", *longer])
    work = tmp_path / ".bert.training"
    while not list(work.glob("step-*")) and started.poll() is None:
        time.sleep(0.01)
    started.send_signal(signal.SIGKILL)
    assert started.wait() == -signal.SIGKILL
    done = subprocess.run([*MATRIXHUB, "pretrain", *longer], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert same(weights(tmp_path / "whole"), weights(tmp_path / "bert"))


TORCHRUN = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]


@pytest.mark.parametrize(
    "launch",
    [
        [*MATRIXHUB, "pretrain", "launch.num_processes=2"],
        pytest.param([*TORCHRUN, "-m", "matrixhub", "pretrain"], marks=pytest.mark.slow),
    ],
    ids=["by option", "by torchrun"],
)
def test_two_processes_train_as_one_does(launch: list[str], words: list[str], tmp_path: Path) -> None:
    given = [*words, "model.dropout=0", "trainer.batch_size=7", "trainer.accumulation=2"]
    given.append("trainer.head_first=0.25")
    pretrain(compose([*given, f"output={tmp_path}/one"]))
    # What is left unsaid where there is no accelerator must not part the processes.
    given.append(f"trainer.cpu={str(torch.accelerator.is_available()).lower()}")
    done = subprocess.run([*launch, *given], capture_output=True, text=True, check=False, timeout=180)
    assert done.returncode == 0, done.stderr
    one, two = weights(tmp_path / "one"), weights(tmp_path / "bert")
    for name, tensor in one.items():
        torch.testing.assert_close(two[name], tensor, atol=1e-5, rtol=1e-4)
    final = [json.loads((tmp_path / f / RECORD).read_text())["final"] for f in ("one", "bert")]
    for name in ("mlm_loss", "nsp_loss", "train_loss"):
        assert final[0][name] == pytest.approx(final[1][name], abs=1e-4)


def test_bf16_is_what_it_computes_in(
    words: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Layers give bfloat16 while training and scoring, weights stay float32, and figures stay near."""
    seen: dict[bool, set[torch.dtype]] = {True: set(), False: set()}
    real = loop.Loop.run

    def watched(self: Any) -> Any:
        layer = self.model.bert.bert.encoder.layer[0].intermediate.dense
        layer.register_forward_hook(lambda module, given, found: seen[module.training].add(found.dtype))
        return real(self)

    monkeypatch.setattr(loop.Loop, "run", watched)
    given = [*words, "model.dropout=0", "trainer.lr=0.003"]
    half = pretrain(compose([*given, "trainer.mixed_precision=bf16"]))
    assert seen == {True: {torch.bfloat16}, False: {torch.bfloat16}}
    assert {tensor.dtype for tensor in weights(tmp_path / "bert").values()} == {torch.float32}
    seen[True], seen[False] = set(), set()
    whole = pretrain(compose([*given, f"output={tmp_path}/whole"]))
    assert seen == {True: {torch.float32}, False: {torch.float32}}
    for name in ("mlm_loss", "nsp_loss", "train_loss"):
        assert half["final"][name] == pytest.approx(whole["final"][name], rel=0.02)
    assert half["final"]["mlm_loss"] != whole["final"]["mlm_loss"]
    assert half["final"]["mlm_loss"] < half["history"][0]["mlm_loss"]


def test_accumulated_parts_are_one_step(words: list[str], tmp_path: Path) -> None:
    given = [*words, "model.dropout=0"]
    pretrain(compose(given))
    pretrain(compose([*given, "trainer.accumulation=3", f"output={tmp_path}/parts"]))
    for name, tensor in weights(tmp_path / "bert").items():
        torch.testing.assert_close(weights(tmp_path / "parts")[name], tensor, atol=1e-5, rtol=1e-4)


def test_a_checkpoint_is_trained_further(words: list[str], tmp_path: Path) -> None:
    pretrain(compose([*words, "model.positions=sinusoidal"]))
    before = weights(tmp_path / "bert")
    further = [*words, f"init={tmp_path}/bert", "trainer.head_first=0.5", "trainer.lr=0.01"]
    record = pretrain(compose([*further, f"output={tmp_path}/further"]))
    after = weights(tmp_path / "further")
    assert "nsp_loss" not in record["final"], "a checkpoint is trained on single texts"
    name = "bert.embeddings.position_embeddings.weight"
    assert torch.equal(before[name], after[name]), "sinusoidal positions stay"
    assert not torch.equal(
        before["bert.embeddings.word_embeddings.weight"], after["bert.embeddings.word_embeddings.weight"]
    )
    assert record["history"][0]["mlm_loss"] != record["final"]["mlm_loss"]
    pairs = pretrain(compose([*further, "objective.next_sentence=true", f"output={tmp_path}/pairs"]))
    assert "nsp_loss" in pairs["final"]


def test_the_head_goes_first_and_leaves_the_encoder_alone(words: list[str], tmp_path: Path) -> None:
    pretrain(compose(words))
    before = weights(tmp_path / "bert")
    alone = [f"init={tmp_path}/bert", "trainer.head_first=0.99", f"output={tmp_path}/head"]
    pretrain(compose([*words, *alone, "trainer.steps=100", "trainer.lr=1e-9", "trainer.head_lr=0.01"]))
    after = weights(tmp_path / "head")
    for name, tensor in before.items():
        if name.startswith("bert.encoder"):
            torch.testing.assert_close(after[name], tensor, atol=1e-6, rtol=0)
    changed = "cls.predictions.transform.dense.weight"
    assert (after[changed] - before[changed]).abs().max() > 1e-3


def test_an_encoder_without_a_head_gets_one(words: list[str], tmp_path: Path) -> None:
    pretrain(compose(words))
    plain = tmp_path / "plain"
    AutoModel.from_pretrained(tmp_path / "bert").save_pretrained(plain)
    create("encoder", "text.transformer", checkpoint=str(tmp_path / "bert"), max_length=32).save_assets(plain)
    (plain / "config.json").write_text((tmp_path / "bert" / "config.json").read_text())
    further = [f"init={plain}", f"output={tmp_path}/new", "trainer.head_first=0.9", "trainer.steps=40"]
    record = pretrain(compose([*words, *further, "trainer.evaluate_every=40"]))
    steps = [one["step"] for one in record["history"]]
    assert steps == [0, 36, 40], "looked at when the head is done, too"
    assert record["history"][1]["mlm_loss"] < record["history"][0]["mlm_loss"]


def test_a_loss_that_is_no_number_stops_before_the_step(
    words: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    real = Pretraining.forward

    def broken(self: Any, batch: Any) -> torch.Tensor:
        found = real(self, batch)
        return found * float("nan") if self.training else found

    monkeypatch.setattr(Pretraining, "forward", broken)
    with pytest.raises(TrainingError, match=r"not a finite number at step 1 \(documents [\d, ]+\)"):
        pretrain(compose(words))


def test_what_cannot_be_trained(words: list[str], texts: Path, tmp_path: Path) -> None:
    (tmp_path / "bert").mkdir()
    with pytest.raises(ConfigError, match=r"bert exists: choose another folder"):
        pretrain(compose(words))
    (tmp_path / "bert").rmdir()
    with pytest.raises(CheckpointError, match="nowhere"):
        pretrain(compose([*words, "init=/nowhere/at all"]))
    lone = tmp_path / "lone.txt"
    lone.write_text("One sentence. And two.", "utf-8")
    with pytest.raises(DataError, match="pairs need two"):
        pretrain(compose([*words, f"corpus.path={lone}", "corpus.held_out=0"]))
    with pytest.raises(DataError, match="nothing that a vocabulary can be made of"):
        pretrain(compose([*words, f"corpus.path={lone}"]))


def test_the_command(words: list[str], texts: Path, tmp_path: Path) -> None:
    """From raw text to a trained product, by two commands."""
    done = subprocess.run([*MATRIXHUB, "pretrain", *words], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "unigram entropy" in done.stdout and "step      8" in done.stderr
    rows = [f"a {colour} {i} house,{colour}" for i in range(40) for colour in ("red", "blue")]
    (tmp_path / "rows.csv").write_text("text,label\n" + "\n".join(rows) + "\n", "utf-8")
    product = [f"product.source.path={tmp_path}/rows.csv", f"output_dir={tmp_path}/runs"]
    encoder = ["encoder/text=text.transformer", f"encoder.text.checkpoint={tmp_path}/bert"]
    short = ["encoder.text.max_length=32", "trainer.epochs=2", f"cache_dir={tmp_path}/cache"]
    ran = subprocess.run(
        [*MATRIXHUB, "run", "product=text", *product, *encoder, *short],
        capture_output=True,
        text=True,
        check=False,
    )
    assert ran.returncode == 0, ran.stderr
    assert list(tmp_path.glob("runs/*/artifacts/*/manifest.json"))


def test_wrong_words_cost_no_torch_and_one_line() -> None:
    code = (
        "import sys\nfrom matrixhub.cli.main import main\n"
        "codes = [main(['pretrain', 'trainer.stpes=3']), main(['pretrain', '--nonsense'])]\n"
        "print(codes, 'torch' in sys.modules, 'numpy' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.stdout.strip() == "[2, 2] False False"
    assert len(done.stderr.splitlines()) == 2


def commands_of_the_page() -> list[list[str]]:
    blocks = re.findall(r"^```sh\n(.*?)^```", PAGE.read_text(), re.DOTALL | re.MULTILINE)
    lines = [line for block in blocks for line in block.replace("\\\n", "").splitlines()]
    return [shlex.split(line)[1:] for line in lines if line.startswith("matrixhub ")]


@pytest.mark.slow
def test_the_commands_of_the_page(texts: Path, tmp_path: Path) -> None:
    """As they stand, over a few rows and steps; Chinese ones need a package that may not be there."""
    (tmp_path / "texts").mkdir()
    shutil.copy(texts, tmp_path / "texts")
    rows = "\n".join(f"The boat number {i} is old and red." for i in range(60))
    (tmp_path / "tickets.csv").write_text(f"body\n{rows}\n", "utf-8")
    for i in range(60):
        path = tmp_path / "photos" / ("dark" if i % 2 else "light") / f"{i}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (64, 64), (60 * (i % 2), i, 0)).save(path)
    found = [
        argv for argv in commands_of_the_page() if "bert-zh" not in " ".join(argv) and argv[0] != "predict"
    ]
    assert len(found) == 6
    for argv in found:
        of_images = any("photos" in word for word in argv)
        few = {
            "pretrain": ["trainer.steps=4", "trainer.batch_size=8"],
            "run": ["trainer.epochs=1", f"cache_dir={tmp_path}/cache"],
        }[argv[0]]
        if argv[0] == "pretrain":
            few.append("images.held_out=0.2" if of_images else "corpus.held_out=0.2")
        elif not of_images:
            few.append("product.source.limit=100")
        done = subprocess.run(
            [*MATRIXHUB, *argv, *few], cwd=tmp_path, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr
