"""Which versions exist, and what is live."""
