"""BERT's own pre-training for MatrixHub, from raw text or from a checkpoint."""

__version__ = "0.1.0"
