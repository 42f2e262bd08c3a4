"""Settings leave no trace: weights are exchanged for a while, to the last bit."""

import pytest
import torch
from torch import Tensor, nn

from matrixhub.artifacts.digests import state_digest
from matrixhub.run.setting import Setting, as_built, running


class Net(nn.Module):
    """A convolution, running means beside weights, and a constant."""

    budget = 4

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.conv = nn.Conv2d(3, 8, 3)
        self.norm = nn.BatchNorm2d(8)
        self.twin = nn.ModuleList([self.conv])  # the same weights under a second name
        self.mean_C11 = nn.Buffer(torch.full((3, 1, 1), 1 / 3))

    def forward(self, pixels_BCHW: Tensor) -> Tensor:
        normal_BCHW = (pixels_BCHW - self.mean_C11).to(self.conv.weight.dtype)
        maps: Tensor = self.norm(self.conv(normal_BCHW)).float()
        return maps


def setting(precision: str = "float32", *, channels_last: bool = False) -> Setting:
    return Setting(precision, budget=4, channels_last=channels_last)


@pytest.mark.parametrize("channels_last", [True, False])
@pytest.mark.parametrize("precision", ["float32", "bfloat16", "float16", "autocast"])
def test_weights_are_the_same_bits_afterwards(precision: str, channels_last: bool) -> None:
    net = Net().eval()
    pixels_BCHW = torch.rand(2, 3, 9, 9)
    before, places = state_digest(net.state_dict()), [p.data_ptr() for p in net.parameters()]
    with torch.no_grad():
        wanted = net(pixels_BCHW)
        with running(net, setting(precision, channels_last=channels_last)):
            torch.testing.assert_close(net(pixels_BCHW), wanted, atol=0.05, rtol=0.05)
        assert torch.equal(net(pixels_BCHW), wanted)
    assert state_digest(net.state_dict()) == before
    assert [p.data_ptr() for p in net.parameters()] == places


def test_weights_come_back_after_an_error_too() -> None:
    net = Net()
    with pytest.raises(RuntimeError, match="stop"), running(net, setting("bfloat16")):
        raise RuntimeError("stop")
    assert net.conv.weight.dtype == net.norm.running_mean.dtype == torch.float32  # type: ignore[union-attr]


def test_weights_turn_with_the_numbers_beside_them_and_constants_stay() -> None:
    net = Net()
    with running(net, setting("bfloat16", channels_last=True)):
        assert net.conv.weight.dtype == net.norm.running_var.dtype == torch.bfloat16  # type: ignore[union-attr]
        assert net.conv.weight.is_contiguous(memory_format=torch.channels_last)
        assert net.mean_C11.dtype == torch.float32
        assert net.norm.num_batches_tracked.dtype == torch.int64  # type: ignore[union-attr]


def test_inside_inference_mode_weights_stay_trainable() -> None:
    net = Net().eval()
    with torch.inference_mode(), running(net, setting("bfloat16", channels_last=True)):
        net(torch.rand(1, 3, 9, 9))
    net(torch.rand(1, 3, 9, 9)).sum().backward()
    assert net.conv.weight.grad is not None


def test_as_built_tells_what_the_encoder_came_with() -> None:
    net = Net()
    assert as_built(net) == setting()
    assert as_built(net.to(memory_format=torch.channels_last)) == setting(channels_last=True)
    assert as_built(net, "float16").precision == "float16"
    assert Setting(**as_built(net).to_dict()) == as_built(net)
