"""HTTP: translate, and nothing else."""
