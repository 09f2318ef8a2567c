"""From an object in a notebook to a published version."""
