"""The inference log: kept before the answer leaves, shipped to a sink, read for ever."""
