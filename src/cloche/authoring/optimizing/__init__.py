"""A second form of a published model that is faster: compared with the original, measured, and published beside it."""
