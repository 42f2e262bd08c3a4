"""Checks of toys."""
