"""What MatrixHub asks of every plugin."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from matrixhub.testing import conformance
from tests.toy_generators import save


def tiny(family: str, **options: Any) -> Callable[[Path], dict[str, Any]]:
    return lambda folder: {"checkpoint": save(family, folder), **options}


OPTIONS = {
    "generator.causal@llama": tiny("llama"),
    "generator.causal@gpt2": tiny("gpt2", num_rows=2),
    "generator.seq2seq@t5": tiny("t5", num_rows=3),
    "generator.seq2seq@bart": tiny("bart"),
}
test_conformance = conformance("generation", options=OPTIONS)
