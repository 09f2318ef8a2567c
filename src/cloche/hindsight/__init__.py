"""Recorded inferences, asked again: one that is to come out the same, or many through another version."""
