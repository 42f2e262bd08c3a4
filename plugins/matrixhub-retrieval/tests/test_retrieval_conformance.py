"""What MatrixHub asks of every plugin."""

from matrixhub.testing import conformance

test_conformance = conformance(
    "retrieval",
    expected_failures={
        "head.contrastive": {"learns_a_toy": "it learns a scale, which moves no row: the towers learn"}
    },
)
