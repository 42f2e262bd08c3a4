"""Checks of generator."""
