"""How the tables came to be, step by step, for Alembic.

A revision is `FORMAT.STEP`. A step expands: it adds what older processes do without, and they go on. Once none of them
is left, the next format takes away what nobody uses any more, and is refused by who does not know it. A reader may come
before the writer that takes a step: until then it finds null in what the step adds.
"""
