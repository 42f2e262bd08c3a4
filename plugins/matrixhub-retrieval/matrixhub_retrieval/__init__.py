"""One space for two inputs, and an index to find rows in, for MatrixHub."""

__version__ = "0.1.0"
