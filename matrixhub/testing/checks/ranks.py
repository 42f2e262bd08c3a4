"""Checks of ranks."""
