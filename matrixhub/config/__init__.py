"""Typed configs: their schemas, how plugin options enter Hydra, and how overrides become jobs."""
