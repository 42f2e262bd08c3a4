"""Images: what is hidden, the loss on it by hand, and whole pre-trainings to an encoder of a product."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from matrixhub_pretraining import loop
from matrixhub_pretraining.batches import Place, steps
from matrixhub_pretraining.image_model import MaskedImages, typical_patches, without_a_model
from matrixhub_pretraining.images import Grid, ImageMaker, Images, read_images
from matrixhub_pretraining.options import PretrainConfig, compose
from matrixhub_pretraining.pretrain import RECORD, pretrain
from PIL import Image
from safetensors.torch import load_file
from torch import Tensor, nn

from matrixhub import ConfigError, DataError, Features, create

MATRIXHUB = [sys.executable, "-m", "matrixhub"]
COLOURS = ((255, 0, 0), (0, 255, 0), (0, 0, 255))


@pytest.fixture(scope="session")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Twenty noisy images of 32 x 32 of each of three colours, by folder."""
    folder, rng = tmp_path_factory.mktemp("photos"), np.random.default_rng(0)
    for colour in COLOURS:
        below = folder / "-".join(map(str, colour))
        below.mkdir()
        for i in range(20):
            pixels = np.clip(np.array(colour) * 0.8 + rng.normal(20, 10, (32, 32, 3)), 0, 255)
            Image.fromarray(pixels.astype(np.uint8)).save(below / f"{i}.png")
    return folder


@pytest.fixture
def words(photos: Path, tmp_path: Path) -> list[str]:
    """Overrides of a pre-training of eight steps."""
    return [
        f"output={tmp_path}/vit", f"images.path={photos}", "images.held_out=0.2", "images.model=test_vit",
        "images.size=32", "images.block=16", "trainer.steps=8", "trainer.batch_size=8",
        "trainer.evaluate_every=4", "trainer.checkpoint_every=2", "trainer.cpu=true",
    ]  # fmt: skip


def options(*given: str) -> PretrainConfig:
    return compose(["output=x", "images.path=x", *given])


class Pixels:
    """A processor of arrays."""

    def prepare(self, values: list[Any]) -> list[Any]:
        if any(isinstance(value, str) for value in values):
            raise DataError("this is no image", row=0)
        return values

    def collate(self, items: list[Any]) -> dict[str, Tensor]:
        return {"pixels": torch.from_numpy(np.stack(items))}


class Seen(nn.Module):
    """An encoder of images of 4 x 4, whose tokens are the pixels of patches of 2 x 2."""

    dim = 12

    def __init__(self, grid: Grid) -> None:
        super().__init__()
        self.grid, self.factor = grid, nn.Parameter(torch.ones(()))

    def forward(self, batch: dict[str, Tensor]) -> Features:
        tokens_BTD = self.grid.patches(batch["pixels"]) * self.factor
        return Features(tokens_BTD.mean(dim=1), tokens_BTD)


def maker(values: list[Any], *given: str, block: int = 1) -> ImageMaker:
    images = Images(values, np.arange(len(values)) * 10)
    return ImageMaker(images, Pixels(), Grid(4, 2, block), options(*given))


def test_patches_are_cut_row_by_row_one_colour_after_the_other() -> None:
    pixels_BCHW = torch.arange(48).reshape(1, 3, 4, 4)
    cut = Grid(4, 2, 1).patches(pixels_BCHW)
    assert cut.shape == (1, 4, 12)
    assert cut[0, 0].tolist() == [0, 1, 4, 5, 16, 17, 20, 21, 32, 33, 36, 37]
    assert cut[0, 1, :4].tolist() == [2, 3, 6, 7], "right of it"
    assert cut[0, 2, :4].tolist() == [8, 9, 12, 13], "below"


def test_whole_blocks_are_hidden_and_their_share_is_rounded_up() -> None:
    hidden = Grid(24, 6, 2).hide(0.6, np.random.default_rng(0)).reshape(6, 6)
    blocks = hidden.reshape(3, 2, 3, 2).transpose(0, 2, 1, 3).reshape(9, 4)
    assert set(blocks.sum(axis=1).tolist()) == {0, 4}, "all of a block or nothing"
    assert (blocks.sum(axis=1) == 4).sum() == 6, "0.6 of 9 is 5.4"
    often = np.mean([Grid(8, 4, 1).hide(0.5, np.random.default_rng(i)) for i in range(2000)], axis=0)
    assert Grid(8, 4, 2).hide(0.9, np.random.default_rng(0)).sum() == 12, "never all of an image"
    assert often == pytest.approx(np.full(16, 0.5), abs=0.05), "each patch as often"


def test_a_batch_tells_what_is_hidden_whatever_stands_beside_it() -> None:
    values = [np.full((3, 4, 4), i, np.uint8) for i in range(8)]
    made = maker(values, "images.masked=0.5")
    first, second = made.examples(1), made.examples(2)
    assert sorted(first[:, 5]) == list(range(8)) and first.tolist() != second.tolist()
    together, alone = (made.batch([(first, 1, at) for at in some]) for some in ((2, 3), (3,)))
    assert torch.equal(together["hidden"][1:], alone["hidden"])
    assert together["hidden"].sum(dim=1).tolist() == [2, 2]
    assert (alone["guess"] == first[3, 5] / 255).all() and alone["guess"].shape == (2, 12)
    masks = [made.batch([(first, epoch, at) for at in range(8)])["hidden"] for epoch in (1, 2)]
    assert not torch.equal(*masks), "new ones in each epoch"
    step = next(steps(maker(values, "trainer.batch_size=3"), Place()))
    assert step.rows.tolist() == (first[:3, 5] * 10).tolist() or len(step.rows) == 3
    with pytest.raises(DataError, match="row 11, column 'image': this is no image"):
        bad = maker([values[0], "a text"])
        bad.batch([(bad.examples(1), 1, at) for at in range(2)])


def test_the_loss_by_hand_on_hidden_pixels_only() -> None:
    """Two patches hidden under 0.2; the head answers 0.5 for each: pixels 0.1 and 0.9 make errors of 0.4."""
    model = MaskedImages(Seen(Grid(4, 2, 1)), Grid(4, 2, 1), torch.full((12,), 0.5))
    pixels = torch.full((1, 3, 4, 4), 77.0)
    given = {
        "pixels": pixels,
        "hidden": torch.tensor([[True, False, False, True]]),
        "guess": torch.stack([torch.full((12,), 0.1), torch.full((12,), 0.9)]),
    }
    loss, squared, *rest = model(given).tolist()
    assert (loss, squared, rest) == (pytest.approx(0.8), pytest.approx(0.32), [0, 0])
    figures = model.figures(loss, squared, 0, 0, num_guesses=2, num_examples=1)
    assert figures == {"mim_loss": pytest.approx(0.4), "mim_rmse": pytest.approx(0.4)}


def test_hidden_pixels_give_way_and_seen_ones_stay() -> None:
    grid = Grid(4, 2, 1)
    model = MaskedImages(Seen(grid), grid, torch.arange(12) / 255)
    pixels = torch.randint(0, 256, (2, 3, 4, 4), dtype=torch.uint8)
    hidden = torch.tensor([[True, False, True, False], [False, True, True, True]])
    shown = grid.patches(model._covered({"pixels": pixels, "hidden": hidden}))
    torch.testing.assert_close(shown[hidden], torch.arange(12.0).expand(5, 12))
    assert torch.equal(shown[~hidden], grid.patches(pixels)[~hidden].float())
    batch = {"pixels": pixels, "hidden": hidden, "guess": grid.patches(pixels)[hidden] / 255}
    nn.init.ones_(model.guess.weight)
    model(batch)[0].backward()
    assert model.shown_P.grad is not None and model.shown_P.grad.abs().sum() > 0, "what is shown is learned"
    model.still = True
    model.zero_grad()
    model(batch)[0].backward()
    assert model.encoder.factor.grad is None and model.guess.weight.grad is not None


def test_what_can_be_said_without_a_model() -> None:
    """Three grey images of 0, 51 and 255, in 0..1 0, 0.2 and 1: the median is 0.2, the mean 0.4."""
    made = maker([np.full((3, 4, 4), grey, np.uint8) for grey in (0, 51, 255)], "images.masked=0.5")
    median_P, mean_P = typical_patches(made, 3)
    torch.testing.assert_close((median_P, mean_P), (torch.full((12,), 0.2), torch.full((12,), 0.4)))
    found = without_a_model(made, (median_P, mean_P))
    assert found == pytest.approx(
        {"median_patch": (0.2 + 0 + 0.8) / 3, "mean_patch": (0.4 + 0.2 + 0.6) / 3, "seen_colour": 0}
    )


def test_copies_of_an_image_are_on_one_side(photos: Path, tmp_path: Path) -> None:
    for i, path in enumerate(sorted(photos.rglob("*.png"))):
        for copy in range(2):
            (tmp_path / f"{i}-{copy}.png").write_bytes(path.read_bytes())
    given = options(f"images.path={tmp_path}", "images.held_out=0.3").images
    train, held_out, digest = read_images(given)
    sides = [{Path(v).name.partition("-")[0] for v in side.values} for side in (train, held_out)]
    assert all(sides) and not sides[0] & sides[1] and len(train.rows) + len(held_out.rows) == 120
    (tmp_path / "0-0.png").write_bytes(b"another")
    assert read_images(given)[2] != digest


def test_the_result_is_an_encoder_of_a_product(words: list[str], photos: Path, tmp_path: Path) -> None:
    record = pretrain(compose([*words, "trainer.steps=80", "trainer.evaluate_every=80", "trainer.lr=3e-3"]))
    folder = tmp_path / "vit"
    assert [path.name for path in tmp_path.iterdir()] == ["vit"], "nothing else is left"
    assert record == json.loads((folder / RECORD).read_text())
    facts, first, final = record["corpus"], record["history"][0], record["final"]
    assert first["mim_loss"] == pytest.approx(facts["median_patch"]), "it begins with the typical patch"
    assert final["mim_loss"] < 0.9 * facts["median_patch"], "what is seen tells the colour of what is hidden"
    encoder = create("encoder", "vision.timm", model="test_vit", checkpoint=str(folder))
    assert encoder.processor.data_config["input_size"] == [3, 32, 32]
    kept = load_file(folder / "model.safetensors")
    assert all(torch.equal(tensor, kept[name]) for name, tensor in encoder.model.state_dict().items())
    chosen = ["encoder/image=timm", "encoder.image.model=test_vit", f"encoder.image.checkpoint={folder}"]
    places = [f"product.source.path={photos}", f"output_dir={tmp_path}/runs", f"cache_dir={tmp_path}/cache"]
    ran = subprocess.run(
        [*MATRIXHUB, "run", "product=image", *chosen, *places, "trainer.epochs=2"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert ran.returncode == 0, ran.stderr
    assert list(tmp_path.glob("runs/*/artifacts/*/manifest.json"))


def test_what_was_ended_goes_on_to_the_same_weights(
    words: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pretrain(compose([*words, f"output={tmp_path}/whole"]))
    real = loop.Loop._step

    def ended(self: Any, wrapped: Any, optimizer: Any, step: Any, number: int) -> Any:
        if number == 5:
            raise KeyboardInterrupt
        return real(self, wrapped, optimizer, step, number)

    with monkeypatch.context() as patched:
        patched.setattr(loop.Loop, "_step", ended)
        with pytest.raises(KeyboardInterrupt):
            pretrain(compose(words))
    assert [p.name for p in (tmp_path / ".vit.training").glob("step-*")] == ["step-00000004"]
    with pytest.raises(ConfigError, match=r"differs in images.masked: give it the same"):
        pretrain(compose([*words, "images.masked=0.5"]))
    pretrain(compose(words))
    one, other = (load_file(tmp_path / name / "model.safetensors") for name in ("whole", "vit"))
    assert one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


@pytest.mark.slow
def test_two_processes_train_as_one_does(words: list[str], tmp_path: Path) -> None:
    given = [*words, "trainer.batch_size=7"]
    pretrain(compose([*given, f"output={tmp_path}/one"]))
    done = subprocess.run(
        [*MATRIXHUB, "pretrain", *given, "launch.num_processes=2"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    one, two = (load_file(tmp_path / name / "model.safetensors") for name in ("one", "vit"))
    for name, tensor in one.items():
        torch.testing.assert_close(two[name], tensor, atol=1e-4, rtol=1e-3)
    final = [json.loads((tmp_path / f / RECORD).read_text())["final"] for f in ("one", "vit")]
    assert final[0]["mim_loss"] == pytest.approx(final[1]["mim_loss"], abs=1e-4)


def test_an_encoder_is_trained_further(words: list[str], tmp_path: Path) -> None:
    pretrain(compose(words))
    still = [f"init={tmp_path}/vit", "trainer.head_first=0.99", "trainer.steps=10", "trainer.lr=1e-9"]
    pretrain(compose([*words, *still, f"output={tmp_path}/still"]))
    pretrain(compose([*words, f"init={tmp_path}/vit", f"output={tmp_path}/further"]))
    before, alone, after = (
        load_file(tmp_path / name / "model.safetensors") for name in ("vit", "still", "further")
    )
    for name, tensor in before.items():
        torch.testing.assert_close(alone[name], tensor, atol=1e-6, rtol=0)
    assert any((after[name] - tensor).abs().max() > 1e-5 for name, tensor in before.items())


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (["images.model=resnet18"], "choose a vision transformer"),
        (["images.block=24"], r"images.block=24 does not fit 32 pixels in patches of 16: 16\."),
        (["images.block=32"], r"images.block=32 does not fit"),
        (["images.model=vit_tinny_patch16_224"], "Did you mean vit_tiny_patch16_224"),
    ],
)
def test_encoders_that_cannot_learn_so(words: list[str], given: list[str], said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        pretrain(compose([*words, *given]))


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (["corpus.path=texts.txt"], "one of the four"),
        (["tokenizer.vocab_size=300"], "tokenizer.vocab_size is for texts: leave it out"),
        (["images.masked=0"], "something must be masked"),
        (["images.masked=1.5"], "it is a share"),
    ],
)
def test_wrong_options(given: list[str], said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        options(*given)
    with pytest.raises(ConfigError, match=r"images.size is for images: leave it out"):
        compose(["output=x", "corpus.path=x", "images.size=32"])


def test_wrong_images(photos: Path, tmp_path: Path) -> None:
    for given, said in (
        (["images.path=/nowhere/at all"], "There is no folder"),
        ([f"images.path={photos}", "images.column=photo"], r"images.column=NAME, one of image"),
        ([f"images.path={photos}", "images.held_out=0.001"], "None of the 60 images is held out"),
    ):
        with pytest.raises(DataError, match=said):
            read_images(compose(["output=x", *given]).images)
