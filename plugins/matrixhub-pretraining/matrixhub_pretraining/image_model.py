"""An image encoder that learns to say what is hidden of an image (SimMIM, Xie et al. 2022).

Shape suffixes: B images, C colours, H height, W width, T patches, M hidden patches, P numbers of a patch.
"""

import math
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _NormBase

from matrixhub import ConfigError, create
from matrixhub_pretraining.batches import HELD_OUT, Batch
from matrixhub_pretraining.images import Grid, ImageMaker
from matrixhub_pretraining.model import Model
from matrixhub_pretraining.options import ENCODER, PretrainConfig

WEIGHTS = "model.safetensors"


class MaskedImages(Model):
    """Hidden patches give way to one learned patch, and a linear head tells their pixels from the tokens.

    A patch goes through the first layer of a vision transformer as it is, so that a learned patch is what a
    learned embedding in its place would be, and the encoder stays as it came.

    Args:
        encoder: gives one token for each patch of the grid.
        grid: how images are cut.
        typical_P: the patch to begin with, in 0..1.
        new_head: whether the encoder comes with weights.
    """

    head = "guess."

    def __init__(self, encoder: Any, grid: Grid, typical_P: Tensor, *, new_head: bool = False) -> None:
        super().__init__()
        self.encoder, self.grid, self.new_head, self.still = encoder, grid, new_head, False
        self.shown_P = nn.Parameter(typical_P.clone())
        self.guess = nn.Linear(encoder.dim, len(typical_P))
        with torch.no_grad():
            # It begins with what can be said without looking.
            self.guess.weight.zero_()
            self.guess.bias.copy_(typical_P)

    def forward(self, batch: Batch) -> Tensor:
        """Sums over hidden patches of a pixel's absolute and squared error, and zeros, float32 (4,)."""
        with torch.set_grad_enabled(torch.is_grad_enabled() and not self.still):
            tokens_BTD = self.encoder({"pixels": self._covered(batch)}).tokens_BTD
        error_MP = self.guess(tokens_BTD[batch["hidden"]]).float() - batch["guess"]
        loss, squared = error_MP.abs().mean(dim=1).sum(), error_MP.detach().square().mean(dim=1).sum()
        return torch.stack([loss, squared, squared * 0, squared * 0])

    def figures(self, *sums: float, num_guesses: float, num_examples: float) -> dict[str, float]:
        """Mean absolute and root mean squared error of a hidden pixel, in 0..1."""
        return {"mim_loss": sums[0] / num_guesses, "mim_rmse": math.sqrt(sums[1] / num_guesses)}

    def save(self, folder: Path) -> None:
        """Weights under timm's names, and how images are prepared."""
        folder.mkdir(parents=True)
        self.encoder.save_assets(folder)
        weights = self.encoder.model.state_dict()
        save_file({name: tensor.cpu().contiguous() for name, tensor in weights.items()}, folder / WEIGHTS)

    def _covered(self, batch: Batch) -> Tensor:
        """Pixels in 0..255, hidden ones replaced, (B, C, H, W)."""
        n, p = self.grid.num, self.grid.patch
        pixels_BCHW, hidden_BT = batch["pixels"].float(), batch["hidden"]
        over_BHW = hidden_BT.reshape(-1, n, n).repeat_interleave(p, 1).repeat_interleave(p, 2)
        shown_CHW = (255 * self.shown_P).reshape(-1, p, p).repeat(1, n, n)
        return torch.where(over_BHW[:, None], shown_CHW, pixels_BCHW)


def new_encoder(options: PretrainConfig) -> tuple[Any, Grid]:
    """An image encoder, with random weights or those of ``init``, and the grid of its tokens.

    Raises:
        ConfigError: its tokens are no grid of patches, or hidden blocks do not fit it.
    """
    given = options.images
    size = {} if given.size is None else {"size": given.size}
    known = {"pretrained": False} if options.init is None else {"checkpoint": options.init}
    encoder = create("encoder", ENCODER, model=given.model, seed=options.trainer.seed, **size, **known)
    if any(isinstance(module, _NormBase) for module in encoder.modules()):
        raise ConfigError(
            f"images.model={given.model} keeps means over batches, which hidden patches would spoil: choose a"
            " vision transformer, such as vit_tiny_patch16_224."
        )
    side = encoder.processor.data_config["input_size"][-1]
    with torch.no_grad():
        tokens_BTD = encoder.eval()({"pixels": torch.zeros(1, 3, side, side)}).tokens_BTD
    num = math.isqrt(tokens_BTD.shape[1])
    if num**2 != tokens_BTD.shape[1] or side % num:
        raise ConfigError(
            f"images.model={given.model} has {tokens_BTD.shape[1]} tokens for {side} x {side} pixels, which"
            " are no square grid of patches: choose a vision transformer, or another images.size."
        )
    block, patch = given.block, side // num
    if block % patch or num % (block // patch) or block == side:
        allowed = ", ".join(str(patch * k) for k in range(1, num) if num % k == 0)
        raise ConfigError(
            f"images.block={block} does not fit {side} pixels in patches of {patch}: {allowed}."
        )
    return encoder, Grid(side, num, block // patch)


def typical_patches(train: ImageMaker, count: int) -> tuple[Tensor, Tensor]:
    """The median and the mean patch of ``count`` training images, (P,) each, in 0..1."""
    examples = train.examples(HELD_OUT)[:count]
    pixels_BCHW = train.batch([(examples, HELD_OUT, at) for at in range(len(examples))])["pixels"]
    patches_NP = train.grid.patches(pixels_BCHW).flatten(0, 1)
    return patches_NP.median(dim=0).values.float() / 255, patches_NP.float().mean(dim=0) / 255


def without_a_model(held_out: ImageMaker, typical: tuple[Tensor, Tensor]) -> dict[str, float]:
    """Losses of the same hidden patches: by the median and the mean patch, and the mean of what is seen."""
    examples = held_out.examples(HELD_OUT)[: held_out.options.trainer.evaluate_examples]
    sums, count = torch.zeros(3, dtype=torch.float64), 0
    for at in range(len(examples)):
        batch = held_out.batch([(examples, HELD_OUT, at)])
        seen_P = held_out.grid.patches(batch["pixels"])[~batch["hidden"]].float().mean(dim=0) / 255
        # Of each colour, for where in a patch it was seen says nothing.
        colour_P = seen_P.reshape(3, -1).mean(dim=1).repeat_interleave(len(seen_P) // 3)
        guesses = (*typical, colour_P)
        sums += torch.stack([(batch["guess"] - guess).abs().mean(dim=1).sum() for guess in guesses])
        count += len(batch["guess"])
    return dict(zip(("median_patch", "mean_patch", "seen_colour"), (sums / count).tolist(), strict=True))
