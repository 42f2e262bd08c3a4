"""Checks of callback."""
