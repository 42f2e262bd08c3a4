"""Records made readable."""
