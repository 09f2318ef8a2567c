"""The only place that knows everything: which driver keeps which promise of an installation.

A file for each thing that is put together, so that who opens a log waits for no gateway and no keeper to be imported.
"""
