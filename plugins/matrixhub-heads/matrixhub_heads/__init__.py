"""Task heads for MatrixHub: what turns features into predictions, with loss and metrics."""

__version__ = "0.1.0"
