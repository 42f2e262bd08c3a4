"""Real weights and real rows out of pip packages."""
