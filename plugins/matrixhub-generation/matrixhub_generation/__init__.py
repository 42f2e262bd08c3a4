"""Text generators over transformers, for MatrixHub."""

__version__ = "0.1.0"
