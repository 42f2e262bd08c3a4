"""Two ranks learn what one learns from the whole batch. As a script: one of the ranks."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch
import torch.distributed as dist
from matrixhub_retrieval.contrastive import Contrastive

from matrixhub import Features, Target

NUM_ROWS, PARTS = 7, (slice(0, 4), slice(4, 7))
TARGETS = torch.tensor([[0, 0], [1, 1], [2, 2], [3, 3], [4, 1], [5, 5], [0, 6]])


def rows() -> torch.Tensor:
    """The whole batch."""
    return torch.randn(NUM_ROWS, 8, generator=torch.Generator().manual_seed(0))


def weigh(layer: torch.nn.Linear, part: slice) -> tuple[float, list[float], float]:
    """Loss, gradient of a layer under both inputs, and gradient of the scale, of a part of the batch."""
    head = Contrastive(dim=8, target=Target("retrieval"), temperature=0.5).train()
    sides = torch.cat([layer(side) for side in rows()[part].chunk(2, dim=-1)], dim=-1)
    loss = head.loss(head(Features(sides)), TARGETS[part])
    # As the training loop weighs it: so that the mean over ranks is the mean over the batch.
    world = dist.get_world_size() if dist.is_initialized() else 1
    (loss * (world * len(TARGETS[part]) / NUM_ROWS)).backward()  # type: ignore[no-untyped-call]
    assert layer.weight.grad is not None and head.log_scale.grad is not None
    return float(loss.detach()), layer.weight.grad.flatten().tolist(), float(head.log_scale.grad)


def layer() -> torch.nn.Linear:
    """The same on all ranks."""
    torch.manual_seed(1)
    return torch.nn.Linear(4, 4, bias=False)


@pytest.mark.slow
def test_negatives_of_two_ranks_are_those_of_the_joined_batch(tmp_path: Path) -> None:
    ranks = [
        subprocess.Popen(
            [sys.executable, __file__, str(rank), str(tmp_path / "store")],
            stdout=subprocess.PIPE,
            text=True,
        )
        for rank in range(2)
    ]
    found = [json.loads(process.communicate(timeout=120)[0]) for process in ranks]
    loss, gradient, of_scale = weigh(layer(), slice(None))
    sizes = [len(range(*part.indices(NUM_ROWS))) for part in PARTS]
    mean = sum(one[0] * size for one, size in zip(found, sizes, strict=True)) / NUM_ROWS
    assert mean == pytest.approx(loss, rel=1e-5)
    assert abs(found[0][0] - found[1][0]) > 1e-3
    averaged = [sum(pair) / 2 for pair in zip(found[0][1], found[1][1], strict=True)]
    assert averaged == pytest.approx(gradient, rel=1e-4, abs=1e-6)
    assert (found[0][2] + found[1][2]) / 2 == pytest.approx(of_scale, rel=1e-4)


if __name__ == "__main__":
    rank, store = int(sys.argv[1]), Path(sys.argv[2])
    dist.init_process_group("gloo", init_method=f"file://{store}", rank=rank, world_size=2)
    print(json.dumps(weigh(layer(), PARTS[rank])))
    dist.destroy_process_group()
