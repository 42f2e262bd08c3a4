"""Checks of head."""
