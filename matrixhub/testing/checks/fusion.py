"""Checks of fusion."""
