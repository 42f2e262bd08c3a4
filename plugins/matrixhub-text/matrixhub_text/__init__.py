"""Text encoders for MatrixHub, over transformers."""

__version__ = "0.1.0"
