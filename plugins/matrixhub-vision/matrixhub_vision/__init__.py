"""Image encoders for MatrixHub, over timm."""

__version__ = "0.1.0"
