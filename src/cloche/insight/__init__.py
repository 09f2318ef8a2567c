"""What the records tell us, never on the path of a call."""
