"""The worker side: one process that runs one version. Standard library only, started by path, in any environment."""
