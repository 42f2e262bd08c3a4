"""Rows of numbers and categories for MatrixHub."""

__version__ = "0.1.0"
