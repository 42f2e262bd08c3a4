"""Rows of SQLite databases."""
