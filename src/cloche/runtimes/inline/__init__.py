"""Versions that a gateway answers itself: formats that carry no code, so that they need no process of their own.

One file is one library, which is an extra of Cloche; `cloche.runtimes.load` imports it for such a version alone.
"""
