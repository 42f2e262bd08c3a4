"""A ledger of runs."""
