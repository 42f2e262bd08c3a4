"""Several inputs to one, for MatrixHub."""

__version__ = "0.1.0"
