"""What data scientists call, from a notebook or a script: `publish`, and what is done with versions afterwards."""
