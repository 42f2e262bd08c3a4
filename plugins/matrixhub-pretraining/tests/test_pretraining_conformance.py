"""What MatrixHub asks of every plugin."""

from matrixhub.testing import conformance

test_conformance = conformance("pretraining")
