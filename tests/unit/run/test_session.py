"""What the stages of a run share."""

from pathlib import Path

import torch
from torch import nn

from matrixhub.run.session import content_digest


class Saved(nn.Module):
    """An encoder with a processor's data beside its weights."""

    def __init__(self, data: str, weight: float = 1.0) -> None:
        super().__init__()
        self.data, self.weight = data, nn.Parameter(torch.tensor(weight))

    def save_assets(self, folder: Path) -> None:
        (folder / "processor").mkdir()
        (folder / "processor" / "data.json").write_text(self.data)


def test_an_encoder_is_its_weights_and_what_its_processor_is_made_from() -> None:
    """Reliability row 20: a changed mean or vocabulary gives other features with the same weights."""
    one = content_digest(Saved("mean 0.5"))
    assert one == content_digest(Saved("mean 0.5"))
    assert len({one, content_digest(Saved("mean 0.4")), content_digest(Saved("mean 0.5", 2.0))}) == 3
