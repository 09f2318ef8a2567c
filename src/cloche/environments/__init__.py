"""Which Python runs a version: this one, or one with the packages that the version was made with."""
