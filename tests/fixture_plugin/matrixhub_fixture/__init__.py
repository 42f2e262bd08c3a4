"""A small plugin: two tiny seeded encoders and rows they can learn."""
