"""Checks of transform."""
