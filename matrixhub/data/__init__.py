"""Rows: where they come from, how they are split, batched and told apart, and their stored features."""
