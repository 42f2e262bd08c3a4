"""``python -m matrixhub``, for ``torchrun -m matrixhub`` and ``accelerate launch -m matrixhub``."""

from matrixhub.cli.main import entry

if __name__ == "__main__":
    entry()
