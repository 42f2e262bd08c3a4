"""The command line: parse and delegate, nothing else."""
