"""Checks of source."""
