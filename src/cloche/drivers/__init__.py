"""Who keeps the promises of `cloche.ports`: one technology, one file."""
